//! A picture that a camera reads, as the path of an inline SVG: dark on light in either theme, one unit a module.
//!
//! Never an image of another address: nothing is fetched to be shown. Invariant: the quiet zone of four modules that
//! readers ask for is inside the picture.

use std::fmt::Write as _;

use fast_qr::{ECL, QRBuilder};

/// The path of all dark modules and the side of the whole picture; `None` if the text is too long for one.
pub(super) fn svg_path(text: &str) -> Option<(String, usize)> {
    let code = QRBuilder::new(text).ecl(ECL::M).build().ok()?;
    let mut path = String::new();
    for y in 0..code.size {
        for x in 0..code.size {
            if code[y][x].value() {
                let _ = write!(path, "M{} {}h1v1h-1z", x + QUIET, y + QUIET);
            }
        }
    }
    Some((path, code.size + 2 * QUIET))
}

const QUIET: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_has_its_three_corners_and_its_quiet_zone() {
        let (path, side) = svg_path("otpauth://totp/x:y?secret=GEZDGNBVGY3TQOJQ&issuer=x").unwrap();
        let dark = |x: usize, y: usize| path.contains(&format!("M{x} {y}h1v1h-1z"));
        let last = side - QUIET - 1;
        for (x, y) in [(QUIET, QUIET), (last, QUIET), (QUIET, last)] {
            assert!(dark(x, y), "{x} {y}");
        }
        assert!((0..side).all(|at| !dark(at, QUIET - 1) && !dark(QUIET - 1, at)));
        assert!(svg_path(&"x".repeat(5000)).is_none());
    }
}
