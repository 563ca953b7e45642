//! What pages and applications load from the gateway: style sheets, scripts, a logo, types and sentences.
//!
//! Never about anybody: the same for every reader of a language. Invariant: the only answers of the gateway that may be
//! cached.

use bytes::Bytes;
use http::Response;
use http::header::{
    CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, VARY,
    X_CONTENT_TYPE_OPTIONS,
};

use super::respond::{STEPGATE_REQUEST, json_bytes, put};
use super::{Language, Pages};
use crate::body::Body;
use crate::stepup::passkey;
use crate::types::RequestId;

impl Pages {
    /// The file at this path below `/.stepgate/`, if there is one.
    pub fn asset(
        &self,
        path: &str,
        language: Language,
        request: &RequestId,
    ) -> Option<Response<Body>> {
        let (media_type, body) = match path {
            "/style.css" => ("text/css; charset=utf-8", Bytes::from_static(STYLE)),
            "/page.js" => ("text/javascript; charset=utf-8", Bytes::from_static(PAGE_SCRIPT)),
            "/client.js" => ("text/javascript; charset=utf-8", Bytes::from_static(SCRIPT)),
            "/passkey.js" if passkey::BUILT => {
                ("text/javascript; charset=utf-8", Bytes::from_static(PASSKEY_SCRIPT))
            }
            "/client.d.ts" => ("text/plain; charset=utf-8", Bytes::from_static(TYPES)),
            "/client.json" => {
                let sentences = self.table(language).script(language);
                ("application/json", json_bytes(&sentences).into())
            }
            "/brand.css" => ("text/css; charset=utf-8", self.brand().css.clone()?),
            "/logo" => {
                let logo = self.brand().logo.as_ref()?;
                (logo.media_type, logo.bytes.clone())
            }
            _ => return None,
        };
        let mut response = Response::new(Body::whole(body));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if path == "/logo" {
            // A picture may be a document with scripts: opened by itself, it runs none.
            let policy = "default-src 'none'; style-src 'unsafe-inline'; sandbox";
            headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
        }
        if path == "/client.json" {
            headers.insert(VARY, HeaderValue::from_static("accept-language"));
            put(headers, CONTENT_LANGUAGE, language.tag());
        }
        put(headers, STEPGATE_REQUEST, request.as_str());
        Some(response)
    }
}

const STYLE: &[u8] = include_bytes!("html/style.css");
const SCRIPT: &[u8] = include_bytes!("script/client.js");
const PAGE_SCRIPT: &[u8] = include_bytes!("script/page.js");
const PASSKEY_SCRIPT: &[u8] = include_bytes!("script/passkey.js");
pub(super) const PASSKEY_SCRIPT_PATH: &str = "/.stepgate/passkey.js";
const TYPES: &[u8] = include_bytes!("script/client.d.ts");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_names_only_sentences_that_every_language_has() {
        let script = std::str::from_utf8(SCRIPT).unwrap();
        let sentences =
            serde_json::to_value(Pages::new().table(Language::En).script(Language::En)).unwrap();
        let words = |prefix: &str| -> Vec<String> {
            let after = script.split(prefix).skip(1);
            let name = |rest: &str| {
                rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect()
            };
            after.map(name).filter(|name: &String| !name.is_empty()).collect()
        };
        let named = words(" t.ui.");
        assert!(named.len() > 10, "{named:?}");
        for name in named {
            assert!(sentences["ui"][&name].is_string(), "ui.{name}");
        }
        for name in ["more", "unavailable", "language"] {
            assert!(script.contains(&format!("t.{name}")) && sentences[name].is_string(), "{name}");
        }
    }

    #[test]
    fn only_sentences_differ_from_reader_to_reader() {
        let request = RequestId::new("r");
        let of = |path: &str, language| Pages::new().asset(path, language, &request);
        let german = of("/client.json", Language::De).unwrap();
        assert_eq!(german.headers()[CONTENT_LANGUAGE], "de");
        assert_eq!(german.headers()[VARY], "accept-language");
        let script = of("/client.js", Language::De).unwrap();
        assert!(!script.headers().contains_key(VARY));
        assert!(of("/client.jsx", Language::En).is_none());
    }
}
