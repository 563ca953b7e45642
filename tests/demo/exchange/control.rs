//! The control port of the toy exchange: its request log over plain HTTP, for tests in other languages.
//!
//! Never reachable through the gateway: it has a listener of its own. `GET /_control/requests` lists, `DELETE` empties.

use std::sync::Arc;

use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use serde_json::json;

use super::{Answer, NoAnswer, Recorded, Shared, lock, plain};

pub(super) async fn answer(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Answer, NoAnswer> {
    if request.uri().path() != "/_control/requests" {
        return Ok(plain(404));
    }
    let mut log = lock(&shared.log);
    Ok(match *request.method() {
        Method::GET => {
            let list: Vec<_> = log.iter().map(written).collect();
            super::json(StatusCode::OK, &json!(list))
        }
        Method::DELETE => {
            log.clear();
            plain(204)
        }
        _ => plain(405),
    })
}

fn written(request: &Recorded) -> serde_json::Value {
    let headers: Vec<_> = (request.headers.iter())
        .map(|(name, value)| json!([name, String::from_utf8_lossy(value)]))
        .collect();
    json!({
        "method": request.method.as_str(), "target": request.target, "headers": headers,
        "body": String::from_utf8_lossy(&request.body),
    })
}
