//! What the customer would get: the very answer that the gateway gives, for a challenge with an id that is made up.
//!
//! Never sends anything.

use std::sync::Arc;

use http::Response;
use http_body_util::BodyExt;
use serde::Serialize;

use crate::body::Body;
use crate::classify::Socket;
use crate::gateway::Site;
use crate::inbound::Inbound;
use crate::pages::language::negotiate;
use crate::pages::{Audience, Ctx, Native, Pages, audience};
use crate::rejection::Rejection;
use crate::stepup::challenge::Challenge;

/// How it ends for whoever asked.
pub(super) enum End {
    /// It goes to the exchange.
    Passes,
    /// The gateway answers it itself.
    Own,
    /// The raw head was refused: an answer without any words.
    Bare,
    Rejected(Rejection),
    Asked(Box<Challenge>),
}

/// What goes over the wire.
#[derive(Debug, Serialize)]
pub(super) struct Customer {
    pub says: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
    /// Of a page, its title.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
}

/// Everything an answer depends on.
pub(super) struct Counter<'a> {
    pub site: &'a Site,
    pub head: &'a Inbound,
    pub body: &'a [u8],
    pub socket: Option<Arc<Socket>>,
    pub bearer: bool,
}

impl Counter<'_> {
    /// Answers as the gateway would.
    pub async fn answer(&self, end: End) -> Customer {
        let plain = |says: &str| Customer {
            says: says.to_owned(),
            status: None,
            headers: Vec::new(),
            body: None,
        };
        match end {
            End::Passes => plain("it goes to the exchange, whose answer is passed on"),
            End::Own => plain("the gateway answers it itself"),
            End::Bare => Customer {
                status: Some(400),
                ..plain("refused before it is read, and the connection is closed")
            },
            End::Rejected(rejection) => {
                let response = self.with_context(|pages, ctx| pages.rejection(&rejection, ctx));
                self.told("refused", response).await
            }
            End::Asked(challenge) => {
                let response = self.with_context(|pages, ctx| pages.challenge(&challenge, ctx));
                self.told("asked for a code", response).await
            }
        }
    }

    fn with_context(&self, f: impl FnOnce(&Pages, &Ctx<'_>) -> Response<Body>) -> Response<Body> {
        let (head, actions) = (self.head, &self.site.actions);
        let audience = audience(head);
        let native =
            (audience == Audience::Api).then(|| actions.answer_for(&head.target)).flatten();
        let render = |message: &str| match (&self.socket, native) {
            (Some(socket), _) => socket.refusal(self.body, message),
            (None, Some(pack)) => {
                pack.render_to(message, &pack.echo(&head.target, self.body), head.received)
            }
            (None, None) => String::new(),
        };
        let status = match self.socket {
            Some(_) => Some(401),
            None => native.map(|pack| pack.status),
        };
        let accepts = head.headers.get(http::header::ACCEPT_LANGUAGE);
        let ctx = Ctx {
            audience,
            request: &head.request,
            native: status.map(|status| Native {
                status,
                message: self.socket.is_some(),
                render: &render,
            }),
            host: &head.authority,
            language: negotiate(accepts.and_then(|value| value.to_str().ok())),
            now: head.received,
            bearer: self.bearer,
            form: false,
            site: self.site.name.as_str(),
            csrf: "",
            subject: head.request.as_str(),
            back: None,
            sign: None,
            factor: None,
            no_text: None,
            secret: None,
            elsewhere: false,
        };
        f(&self.site.pages, &ctx)
    }

    async fn told(&self, says: &str, response: Response<Body>) -> Customer {
        let (parts, body) = response.into_parts();
        let header = |name: &str| {
            let value = parts.headers.get(name)?.to_str().ok()?;
            Some((name.to_owned(), value.to_owned()))
        };
        let headers = HEADERS.into_iter().filter_map(header).collect();
        // A whole body cannot fail.
        let bytes = body.collect().await.map(|all| all.to_bytes()).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let body =
            match text.split_once("<title>").and_then(|(_, rest)| rest.split_once("</title>")) {
                Some((title, _)) => format!("a page: {}", title.trim()),
                None => text,
            };
        match self.socket {
            Some(_) => Customer {
                says: format!("{says}, by a message"),
                status: None,
                headers: Vec::new(),
                body: Some(body),
            },
            None => Customer {
                says: says.to_owned(),
                status: Some(parts.status.as_u16()),
                headers,
                body: Some(body),
            },
        }
    }
}

const HEADERS: [&str; 5] =
    ["content-type", "retry-after", "step-up-challenge", "step-up-factors", "www-authenticate"];
