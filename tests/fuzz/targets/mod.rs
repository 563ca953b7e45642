//! What is fuzzed: readers of hostile bytes, and what each must never do. A target panics where its reader does.
//!
//! Never knows who calls: libFuzzer for as long as one likes, or the tests with what it begins with.

pub mod assertion;
pub mod backup;
pub mod cases;
pub mod credentials;
pub mod forwarded;
pub mod head;
pub mod json;
pub mod pack;
pub mod pairs;
pub mod path;
pub mod policy;
pub mod proxy;

use stepgate::fault::{Fault, Source};

/// Reads an input, and panics if that went wrong.
pub type Target = fn(&[u8]);

/// By name; each begins with the inputs in its folder of `corpus`.
pub const ALL: &[(&str, Target)] = &[
    ("assertion", |bytes| text(bytes, assertion::run)),
    ("backup", backup::run),
    ("cases", |bytes| text(bytes, cases::run)),
    ("credentials", credentials::run),
    ("forwarded", forwarded::run),
    ("head", head::run),
    ("json", |bytes| text(bytes, json::run)),
    ("pack", |bytes| text(bytes, pack::run)),
    ("pairs", |bytes| text(bytes, pairs::run)),
    ("path", path::run),
    ("policy", |bytes| text(bytes, policy::run)),
    ("proxy", proxy::run),
];

/// A reader of text meets no other bytes.
fn text(bytes: &[u8], run: fn(&str)) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        run(text);
    }
}

/// A fault stands inside its file, at a character, has something to say, and can be printed.
///
/// # Panics
/// If not.
pub fn inside(fault: &Fault, source: &Source) {
    let (start, end, text) = (fault.span.start, fault.span.end, &*source.text);
    assert_eq!(fault.source, *source);
    assert!(
        start <= end && end <= text.len(),
        "{start}..{end} of {}: {}",
        text.len(),
        fault.message
    );
    assert!(text.is_char_boundary(start) && text.is_char_boundary(end), "{}", fault.message);
    assert!(!fault.message.is_empty());
    let (line, column) = fault.position();
    assert!(line >= 1 && column >= 1 && line <= text.matches('\n').count() + 1);
    assert!(fault.render().contains("fuzz."), "{}", fault.message);
}
