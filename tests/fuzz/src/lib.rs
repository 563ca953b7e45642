//! What several targets assert.

use stepgate::fault::{Fault, Source};

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
