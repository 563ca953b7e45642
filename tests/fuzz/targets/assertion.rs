//! What browsers post for a passkey. What is read is what serde_json reads, of bounded size, and from one spelling only.

use serde_json::Value;
use stepgate::fuzz;

pub fn run(text: &str) {
    let Some(read) = fuzz::assertion(text) else { return };
    assert!(text.len() <= 16 * 1024, "too large");
    // It reads numbers, in what is passed over here.
    let Ok(value) = serde_json::from_str::<Value>(text) else { return };
    let response = value["response"].as_object().expect("a response");
    let member = |name: &str| response.get(name).and_then(Value::as_str).unwrap_or_default();
    assert_eq!(value["type"], "public-key");
    assert_eq!(Some(&*read.id), value["rawId"].as_str());
    assert_eq!(read.client_data, member("clientDataJSON"));
    match &read.signed[..] {
        [attestation] => assert_eq!(attestation, member("attestationObject")),
        [data, signature] => {
            assert_eq!((&**data, &**signature), (member("authenticatorData"), member("signature")));
        }
        other => panic!("{other:?}"),
    }
}
