//! The file of a backup: what was written is read, and whatever was done to it is noticed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use stepgate::backup::{BackupError, Reader, Writer};
use stepgate::crypto::Keyring;
use stepgate::fault::Source;
use stepgate::store::moved::Kept;
use stepgate::types::UnixMs;
use stepgate::world::SeededEntropy;

use crate::store_contract::moved::kept;

const NOW: UnixMs = UnixMs(1_790_000_000_000);

/// A key ring; the id says which bytes each key has.
fn ring(ids: &[&str]) -> Keyring {
    let line =
        |id: &&str| format!("{id} {}\n", STANDARD.encode([id.bytes().next_back().unwrap(); 32]));
    let text: String = ids.iter().map(line).collect();
    Keyring::parse(&Source::new("master.key", text), &mut Vec::new()).unwrap()
}

fn write(ring: &Keyring, seed: u64, records: &[Kept]) -> Vec<u8> {
    let entropy = SeededEntropy::new(seed);
    let mut writer = Writer::new(Vec::new(), ring, &entropy, NOW).unwrap();
    records.iter().for_each(|kept| writer.put(kept).unwrap());
    let (file, counts) = writer.finish().unwrap();
    assert_eq!(counts.sum(), records.len() as u64);
    file
}

fn read(ring: &Keyring, file: &[u8]) -> Result<Vec<Kept>, BackupError> {
    let mut reader = Reader::open(file, ring)?;
    let mut records = Vec::new();
    while let Some(kept) = reader.record()? {
        records.push(kept);
    }
    assert_eq!(reader.counts().sum(), records.len() as u64);
    assert!(reader.record()?.is_none());
    Ok(records)
}

fn why(ring: &Keyring, file: &[u8]) -> String {
    read(ring, file).unwrap_err().to_string()
}

fn key(name: &str, bytes: usize) -> Kept {
    Kept::Key { name: name.to_owned(), value: vec![7; bytes] }
}

fn few() -> Vec<Kept> {
    vec![key("signing-key", 9), key("other", 3)]
}

/// Three chunks and a part.
fn long() -> Vec<Kept> {
    (0..220).map(|n| key(&format!("k{n}"), 500)).collect()
}

/// Where the first chunk begins.
fn head_bytes(file: &[u8]) -> usize {
    file.iter().position(|byte| *byte == b'\n').unwrap() + 1
}

const SEALED: usize = 64 * 1024 + 16;

#[test]
fn what_was_written_is_read_and_nothing_of_it_can_be_seen() {
    let ring = ring(&["a"]);
    for records in [vec![], few(), long()] {
        let file = write(&ring, 1, &records);
        assert_eq!(read(&ring, &file).unwrap(), records);
        assert!(!file.windows(11).any(|part| part == b"signing-key"));
    }
    let head = write(&ring, 1, &few());
    let head = std::str::from_utf8(&head[..head_bytes(&head)]).unwrap();
    assert!(head.starts_with(r#"{"stepgate_backup":1,"created":"2026-09-21T14:13:20Z","key":"a""#));
}

#[test]
fn a_content_that_ends_with_a_chunk_is_read_as_any_other() {
    let ring = ring(&["a"]);
    // Around the length at which the content fills one chunk, and two.
    for bytes in [0, 32_700, 65_470].into_iter().flat_map(|from| from..from + 90) {
        let records = [Kept::Key { name: "x".repeat(bytes.min(1)), value: vec![7; bytes] }];
        let file = write(&ring, 1, &records);
        assert_eq!(read(&ring, &file).unwrap(), records, "{bytes}");
    }
}

#[test]
fn two_backups_of_the_same_have_nothing_in_common() {
    let ring = ring(&["a"]);
    let (one, two) = (write(&ring, 1, &few()), write(&ring, 2, &few()));
    let (one, two) = (&one[head_bytes(&one)..], &two[head_bytes(&two)..]);
    let same = one.iter().zip(two).filter(|(a, b)| a == b).count();
    assert!(same < one.len() / 10, "{same} of {}", one.len());
}

#[test]
fn every_changed_byte_is_noticed() {
    let ring = ring(&["a"]);
    let file = write(&ring, 1, &few());
    for at in 0..file.len() {
        for bit in [1, 2, 4, 8, 16, 32, 64, 128] {
            let mut other = file.clone();
            other[at] ^= bit;
            assert!(read(&ring, &other).is_err(), "byte {at}, bit {bit}");
        }
    }
}

#[test]
fn every_cut_and_every_addition_is_noticed() {
    let ring = ring(&["a"]);
    let file = write(&ring, 1, &few());
    for end in 0..file.len() {
        assert!(read(&ring, &file[..end]).is_err(), "cut to {end}");
        assert!(read(&ring, &file[end + 1..]).is_err(), "begun at {end}");
    }
    for more in [&b"\0"[..], b"\n", &file, &[0; SEALED]] {
        assert!(read(&ring, &[&file, more].concat()).is_err());
    }
}

#[test]
fn a_file_of_many_chunks_says_which_one_is_wrong() {
    let ring = ring(&["a"]);
    let file = write(&ring, 1, &long());
    let head = head_bytes(&file);
    let chunk = |n: usize| head + n * SEALED..(head + (n + 1) * SEALED).min(file.len());
    assert!(chunk(3).len() < SEALED, "three chunks and a part");
    for n in 0..4 {
        let mut other = file.clone();
        other[chunk(n).start + 5] ^= 1;
        assert!(why(&ring, &other).starts_with(&format!("chunk {} does not open", n + 1)));
    }
    for n in 1..4 {
        let cut = why(&ring, &file[..chunk(n).start]);
        assert!(cut.starts_with(&format!("it is cut off: it ends after chunk {n},")), "{cut}");
    }
    assert!(why(&ring, &file[..head]).contains("it ends after chunk 0"));
    assert!(why(&ring, &file[..chunk(2).start + 100]).starts_with("chunk 3 does not open"));
    let added = [&file[..], b"more"].concat();
    assert!(why(&ring, &added).starts_with("chunk 4 does not open"), "a short chunk that grew");
}

#[test]
fn something_behind_a_full_last_chunk_is_said_to_be_so() {
    let ring = ring(&["a"]);
    let one = Writer::new(Vec::new(), &ring, &SeededEntropy::new(1), NOW).unwrap();
    let content = [vec![b'\n'; 64 * 1024 - 11], b"{\"end\":{}}\n".to_vec()].concat();
    let file = one.with_content(&content).unwrap();
    assert_eq!(file.len(), head_bytes(&file) + SEALED);
    assert!(why(&ring, &[&file[..], b"x"].concat()).contains("added behind its last chunk, 1"));
}

#[test]
fn chunks_that_changed_places_or_files_are_noticed() {
    let ring = ring(&["a"]);
    let (file, other) = (write(&ring, 1, &long()), write(&ring, 2, &long()));
    let head = head_bytes(&file);
    let chunk = |file: &[u8], n: usize| {
        let end = (head + (n + 1) * SEALED).min(file.len());
        file[head + n * SEALED..end].to_vec()
    };
    let of = |parts: &[Vec<u8>]| [&[file[..head].to_vec()], parts].concat().concat();
    let c = |n| chunk(&file, n);
    assert!(read(&ring, &of(&[c(0), c(1), c(2), c(3)])).is_ok());
    let wrong = [
        vec![c(1), c(0), c(2), c(3)],
        vec![c(0), c(2), c(3)],
        vec![c(0), c(1), c(1), c(2), c(3)],
        vec![c(0), c(3)],
        vec![c(3)],
        vec![c(0), chunk(&other, 1), c(2), c(3)],
        vec![c(0), c(1), c(2), chunk(&other, 3)],
        (0..4).map(|n| chunk(&other, n)).collect(),
    ];
    for (n, parts) in wrong.iter().enumerate() {
        assert!(read(&ring, &of(parts)).is_err(), "{n}");
    }
}

#[test]
fn an_older_key_of_the_ring_opens_and_a_missing_one_is_named() {
    let file = write(&ring(&["old-a"]), 1, &few());
    assert_eq!(read(&ring(&["new-b", "old-a"]), &file).unwrap(), few());
    let missing = why(&ring(&["new-b"]), &file);
    assert!(missing.contains("`old-a`, which is not in store.master_key"), "{missing}");
    // The same id, and another key behind it.
    let renamed = Keyring::parse(
        &Source::new("k", format!("old-a {}\n", STANDARD.encode([1; 32]))),
        &mut Vec::new(),
    );
    assert!(why(&renamed.unwrap(), &file).contains("`old-a` is another key"));
}

#[test]
fn what_is_no_backup_or_a_newer_one_is_said_to_be_so() {
    let ring = ring(&["a"]);
    for other in [&b""[..], b"\n", b"{}\n", b"not one", &[b'{'; 5000], b"{\"stepgate_backup\":0}\n"]
    {
        assert!(matches!(read(&ring, other), Err(BackupError::NotABackup)));
    }
    let newer = why(&ring, b"{\"stepgate_backup\":2,\"made\":\"later\"}\nxyz");
    assert!(newer.starts_with("it is of format 2"), "{newer}");
}

#[test]
fn content_that_only_the_key_could_seal_is_still_read_with_care() {
    let ring = ring(&["a"]);
    let of = |content: &str| {
        let writer = Writer::new(Vec::new(), &ring, &SeededEntropy::new(1), NOW).unwrap();
        why(&ring, &writer.with_content(content.as_bytes()).unwrap())
    };
    let record = r#"{"key":{"name":"secret-name","value":[1]}}"#;
    assert!(of(record).contains("no end behind it"));
    assert!(of(&format!("{record}\n")).contains("record 2 cannot be read"));
    assert!(of(&format!("{record}\n{{\"end\":{{}}}}\n")).contains("says that it holds nothing"));
    let behind = of(&format!("{{\"end\":{{}}}}\n{record}\n"));
    assert!(behind.contains("stands behind the end"), "{behind}");
    let unknown = of("{\"elevation\":{\"of\":\"secret-name\"}}\n{\"end\":{}}\n");
    assert!(unknown.contains("record 1 cannot be read") && !unknown.contains("secret-name"));
    let more = of(r#"{"key":{"name":"secret-name","value":[1],"more":1}}"#);
    assert!(more.contains("record 1 cannot be read"), "{more}");
    assert!(of(&"x".repeat(3 << 20)).contains("longer than"));
}

#[test]
fn a_record_that_no_reader_would_take_is_not_written() {
    let ring = ring(&["a"]);
    let mut writer = Writer::new(Vec::new(), &ring, &SeededEntropy::new(1), NOW).unwrap();
    let error = writer.put(&key("long", 1 << 20)).unwrap_err();
    assert!(matches!(error, BackupError::TooLong { kind: "keys" }));
}

#[test]
fn a_full_disk_is_an_error_at_whatever_byte_it_is_full() {
    /// Room for so many bytes.
    struct Room(usize);
    impl std::io::Write for Room {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let taken = bytes.len().min(self.0);
            self.0 -= taken;
            if taken == 0 { Err(std::io::ErrorKind::StorageFull.into()) } else { Ok(taken) }
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let ring = ring(&["a"]);
    let whole = write(&ring, 1, &long()).len();
    let tried = |room: usize| -> Result<(), BackupError> {
        let mut writer = Writer::new(Room(room), &ring, &SeededEntropy::new(1), NOW)?;
        long().iter().try_for_each(|kept| writer.put(kept))?;
        writer.finish().map(drop)
    };
    for room in (0..whole).step_by(whole / 50) {
        assert!(matches!(tried(room), Err(BackupError::Io(_))), "{room}");
    }
    assert!(tried(whole - 1).is_err() && tried(whole).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

    #[test]
    fn random_records_are_read_as_they_were_written(
        records in proptest::collection::vec(kept(), 0..60)
    ) {
        let ring = ring(&["a"]);
        prop_assert_eq!(read(&ring, &write(&ring, 3, &records)).unwrap(), records);
    }

    #[test]
    fn hostile_bytes_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
        prop_assert!(read(&ring(&["a"]), &bytes).is_err());
    }

    #[test]
    fn hostile_bytes_behind_a_head_are_refused(
        bytes in proptest::collection::vec(any::<u8>(), 0..3000)
    ) {
        let ring = ring(&["a"]);
        let file = write(&ring, 1, &[]);
        let head = &file[..head_bytes(&file)];
        prop_assert!(read(&ring, &[head, &bytes].concat()).is_err());
    }

    #[test]
    fn hostile_content_is_refused_or_read_to_its_end(
        content in "(\\{\"(key|end|sends)\":|\\{\"name\":\"a\",|\"value\":\\[1\\]|[\\{\\}\\[\\]\n,:]|\"a\"){0,12}"
    ) {
        let ring = ring(&["a"]);
        let writer = Writer::new(Vec::new(), &ring, &SeededEntropy::new(1), NOW).unwrap();
        let file = writer.with_content(content.as_bytes()).unwrap();
        if let Ok(records) = read(&ring, &file) {
            prop_assert_eq!(records.len() + 1, content.lines().count());
        }
    }
}
