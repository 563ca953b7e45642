//! Looking at many bytes at a time: what every request's head goes through.
//!
//! Never allocates and never stops early: a loop without a branch becomes vector instructions, which for the few hundred
//! bytes of a header is several times faster than stopping at the first bad one.

/// Whether all of them belong to the class. `class` should be comparisons joined by `|` and `&`.
pub(crate) fn all(octets: &[u8], class: impl Fn(u8) -> bool) -> bool {
    octets.iter().fold(true, |sound, octet| sound & class(*octet))
}

/// How many of them are this one.
pub(crate) fn count(octets: &[u8], wanted: u8) -> usize {
    memchr::memchr_iter(wanted, octets).count()
}

/// How many of them belong to the class; of the same kind as for `all`.
pub(crate) fn count_if(octets: &[u8], class: impl Fn(u8) -> bool) -> usize {
    // In parts short enough to be counted in an octet each, of which a vector holds the most.
    let part = |part: &[u8]| part.iter().fold(0_u8, |sum, octet| sum + u8::from(class(*octet)));
    octets.chunks(PART).map(|octets| usize::from(part(octets))).sum()
}

const PART: usize = 192;

/// From `first` to `last`, both included.
pub(crate) fn between(octet: u8, first: u8, last: u8) -> bool {
    octet.wrapping_sub(first) <= last - first
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_of_a_class_are_counted_whatever_their_number() {
        let digit = |octet| between(octet, b'0', b'9');
        for length in [0, 1, 15, 16, 17, 191, 192, 193, 255, 256, 257, 1000] {
            let mut octets = vec![b'7'; length];
            assert_eq!(count_if(&octets, digit), length);
            for at in (0..length).step_by(7) {
                octets[at] = b'x';
            }
            assert_eq!(count_if(&octets, digit), length - length.div_ceil(7), "of {length}");
        }
    }

    #[test]
    fn one_octet_outside_the_class_is_seen_wherever_it_stands() {
        let digit = |octet| between(octet, b'0', b'9');
        for length in 0..70 {
            let digits = vec![b'7'; length];
            assert!(all(&digits, digit));
            for at in 0..length {
                for other in [b'0' - 1, b'9' + 1, 0, 0xff] {
                    let mut octets = digits.clone();
                    octets[at] = other;
                    assert!(!all(&octets, digit), "{other} at {at} of {length}");
                    assert_eq!(count(&octets, b'7'), length - 1);
                }
            }
        }
    }
}
