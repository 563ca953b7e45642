//! Backups. Bytes from anywhere are refused, or are a file that was made with the key: no other byte of it may then
//! differ. Content that was sealed with the key is taken as it stands, record for record, or refused.

use stepgate::fuzz;

pub fn run(bytes: &[u8]) {
    if fuzz::backup(bytes).is_ok() {
        for (at, bit) in [(0, 1), (bytes.len() / 2, 4), (bytes.len() - 1, 128)] {
            let mut other = bytes.to_vec();
            other[at] ^= bit;
            assert!(fuzz::backup(&other).is_err(), "byte {at} does not matter");
        }
        assert!(fuzz::backup(&bytes[..bytes.len() - 1]).is_err(), "a part is taken");
    }
    if bytes.is_empty() {
        return;
    }
    let file = fuzz::backup_of(bytes).expect("is made");
    let Ok(records) = fuzz::backup(&file) else { return };
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    assert_eq!(records.len() + 1, lines.count(), "a line for each record, and one for the end");
    // What was taken is written again and taken again as the same.
    let mut again = records.join("\n").into_bytes();
    let end = bytes.windows(6).rposition(|part| part == b"{\"end\"").expect("there is an end");
    again.extend_from_slice(if records.is_empty() { b"" } else { b"\n" });
    again.extend_from_slice(&bytes[end..]);
    let file = fuzz::backup_of(&again).expect("is made");
    assert_eq!(fuzz::backup(&file).expect("is taken"), records);
}
