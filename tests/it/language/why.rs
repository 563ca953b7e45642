//! `why`: one line for the customer.

use super::{load, rendered};

#[test]
fn why_is_one_line() {
    let why =
        |why: &str| load(&format!("[[rule]]\nid = \"r\"\non = \"*\"\ndeny = true\nwhy = {why}"));
    assert!(why("\"这个地址是新的。\"").is_ok());
    for odd in ["\"\"", "\"a\\nb\"", &format!("\"{}\"", "x".repeat(501))] {
        let faults = why(odd).expect_err(odd);
        assert!(rendered(&faults).contains("`why` is one line"), "{odd}");
    }
}
