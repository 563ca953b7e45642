//! Canonical paths and loose keys. A strict path has itself among its keys, another spelling of it has that key too or
//! is refused, and every key is spelt as keys are.

use stepgate::{classify, fuzz};

pub fn run(bytes: &[u8]) {
    let Some((recipe, path)) = bytes.split_at_checked(4) else { return };
    let Ok(path) = std::str::from_utf8(path) else { return };
    // Anything else is refused before it is looked at.
    if !path.starts_with('/') {
        return;
    }
    if let Some(keys) = fuzz::keys(path) {
        assert!(!keys.is_empty(), "no key");
        for key in &keys {
            assert!(key.starts_with('/') && (key == "/" || !key.ends_with('/')), "{key}");
            assert!(classify::resembles(path, key), "a path does not resemble its key {key}");
        }
    }
    if fuzz::is_strict(path) {
        let key = &path.to_ascii_lowercase();
        let keys = fuzz::keys(path).expect("a strict path can be told");
        assert!(keys.iter().any(|it| it == key), "{keys:?}");
        assert!(path.is_ascii() && path.len() <= 2048);
        // Dots at the end of a segment are cut off by some servers and not by others: no one key is right.
        if !path.contains("./") && !path.ends_with('.') {
            disguise(path, key, recipe);
        }
    }
}

/// Another spelling, by up to four steps that servers have been seen to undo, one after the other.
fn disguise(path: &str, key: &str, recipe: &[u8]) {
    let mut spelt = path.to_owned();
    for byte in recipe {
        let slashes: Vec<usize> = spelt.match_indices('/').map(|(at, _)| at).collect();
        let at = slashes[usize::from(byte >> 4) % slashes.len()];
        let letter = 1 + usize::from(byte >> 3) % (spelt.len() - 1).max(1);
        let letter = letter.min(spelt.len() - 1);
        match byte & 7 {
            0 => spelt.insert(at, '/'),
            1 => spelt.insert_str(at, "/."),
            2 if !encoded(&spelt) => spelt.insert_str(at, "/x/.."),
            3 if spelt.as_bytes()[letter] != b'/' => {
                let escape = format!("%{:02x}", spelt.as_bytes()[letter]);
                spelt.replace_range(letter..=letter, &escape);
            }
            4 => spelt = spelt.to_ascii_uppercase(),
            5 => spelt.push('/'),
            6 if !spelt.contains('%') => spelt.replace_range(at..=at, "%2F"),
            7 => spelt.push_str("%00.css"),
            _ => {}
        }
        if !spelt.starts_with('/') {
            spelt.insert(0, '/');
        }
    }
    // Three rounds of decoding are undone; more than that is refused.
    if let Some(keys) = fuzz::keys(&spelt) {
        assert!(keys.iter().any(|it| it == key), "{spelt} does not smell of {key}: {keys:?}");
    }
}

fn encoded(spelt: &str) -> bool {
    spelt.contains('%')
}
