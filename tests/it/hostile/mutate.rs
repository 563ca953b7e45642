//! Changes of inputs: bytes flipped, cut, doubled, moved in from another input. The same ones for the same seed.

const BYTES_MAX: usize = 64 * 1024;
/// What readers stumble over.
const ODD: &[&[u8]] = &[
    b"\0",
    b"\r\n",
    b"\n",
    b" ",
    b"\t",
    b"%2f",
    b"%00",
    b"%",
    b"/",
    b"..",
    b"//",
    b"\\",
    b";",
    b"\"",
    b"'",
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b"=",
    b"&",
    b"#",
    b"?",
    b"-",
    b"0",
    b"1e999",
    b"\xef\xbb\xbf",
    b"\xc2\xa0",
    b"\xff",
    "\u{202e}".as_bytes(),
    "\u{ff10}".as_bytes(),
    b"Content-Length: 1\r\n",
    b"Transfer-Encoding: chunked\r\n",
];

/// A small generator (xorshift64*), so that no crate's next version changes what is tried.
pub struct Mutator(u64);

impl Mutator {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Below `bound`; 0 if there is nothing to choose from.
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let random = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(random).unwrap() % bound.max(1)
    }

    fn span(&mut self, bytes: &[u8]) -> std::ops::Range<usize> {
        let start = self.below(bytes.len() + 1);
        let length = self.below(32).min(bytes.len() - start);
        start..start + length
    }

    /// One of the inputs with one to four changes.
    pub fn change(&mut self, inputs: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = inputs[self.below(inputs.len())].clone();
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len() + 1);
            match self.below(6) {
                0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                1 => bytes.truncate(at),
                2 => drop(bytes.drain(self.span(&bytes.clone()))),
                3 => {
                    let part = bytes[self.span(&bytes)].to_vec();
                    bytes.splice(at..at, part);
                }
                4 => {
                    let other = &inputs[self.below(inputs.len())];
                    let part = other[self.span(other)].to_vec();
                    bytes.splice(at..at, part);
                }
                _ => {
                    let odd = ODD[self.below(ODD.len())];
                    bytes.splice(at..at, odd.iter().copied());
                }
            }
        }
        bytes.truncate(BYTES_MAX);
        bytes
    }
}
