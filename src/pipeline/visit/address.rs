//! To whom a request is answered, in which language, and where a person goes from there.
//!
//! Never looks at what was decided. Invariant: what the headers said is known after they have gone upstream.

use http::{Method, header};

use super::Speaks;
use super::Visit;
use crate::audit::redact;
use crate::gateway::Gateway;
use crate::pages::language::{self, negotiate};
use crate::pages::{self, Audience, Ctx, Language, Native, csrf};
use crate::types::ChallengeId;

impl Visit {
    /// Whether its answer may be a page that gets the script for single-page applications. Such a page is asked for
    /// whole and uncompressed.
    pub(in crate::pipeline) fn wants_script(&mut self) -> bool {
        let wants = self.site.inject && self.audience() == Audience::Page;
        if wants {
            self.head.headers.remove(header::ACCEPT_ENCODING);
            self.head.headers.remove(header::RANGE);
        }
        wants
    }

    pub(crate) fn audience(&self) -> Audience {
        self.spoken.as_ref().map_or_else(|| pages::audience(&self.head), |(audience, _)| *audience)
    }

    /// What the person chose on a page, else what the client says it accepts.
    pub(crate) fn language(&self) -> Language {
        let accepts = match &self.spoken {
            Some((_, Speaks::Known(language))) => return *language,
            Some((_, Speaks::Accepts(languages))) => languages.as_ref(),
            None => self.head.headers.get(header::ACCEPT_LANGUAGE),
        };
        let chosen = match self.spoken.is_none() && self.audience() == Audience::Page {
            true => self.language_asked().or_else(|| language::remembered(&self.head.headers)),
            false => None,
        };
        chosen.unwrap_or_else(|| negotiate(accepts.and_then(|value| value.to_str().ok())))
    }

    /// What the switch on a page of ours asks for.
    pub(crate) fn language_asked(&self) -> Option<Language> {
        let own = self.learnt().own;
        own.then(|| language::asked(self.head.query())).flatten()
    }

    /// Where a person can begin again who is refused: the page that was asked for, or the one that its form stood on.
    fn back(&self) -> Option<&str> {
        let short = |path: &&str| {
            path.starts_with('/') && path.len() <= BACK_BYTES_MAX && !redact::holds_secret(path)
        };
        if self.head.method.is_safe() {
            return Some(&*self.head.target).filter(short);
        }
        let from = self.head.headers.get(header::REFERER)?.to_str().ok()?;
        let path = from.strip_prefix("https://")?.strip_prefix(&*self.head.authority)?;
        Some(path).filter(short)
    }

    /// A person's form, and no code with it.
    pub(in crate::pipeline) fn is_form(&self) -> bool {
        self.head.method == Method::POST
            && self.audience() == Audience::Page
            && !self.head.headers.contains_key("step-up-code")
    }

    /// Where a browser wanted to go, if going there again is harmless, or the page that its form stood on.
    pub(in crate::pipeline) fn return_to(&self) -> Option<String> {
        if self.audience() != Audience::Page {
            return None;
        }
        if self.head.method != Method::GET {
            return self.back().map(str::to_owned);
        }
        let local = self.head.target.starts_with('/') && !self.head.target.starts_with("//");
        local.then(|| self.head.target.to_string())
    }

    /// Runs `f` with what an answer of the gateway's own needs to know.
    pub(crate) fn with_context<T>(&self, f: impl FnOnce(&Ctx<'_>) -> T) -> T {
        let audience = self.audience();
        let (bearer, own, seen, no_text) = {
            let learnt = self.learnt();
            let bearer = learnt.identity.as_ref().is_some_and(|identity| identity.bearer);
            (bearer, learnt.own, learnt.echo.clone(), learnt.no_text)
        };
        let native = match audience {
            Audience::Api if !own => self.site.actions.answer_for(&self.head.target),
            _ => None,
        };
        let render = |message: &str| {
            if let Some(frame) = &self.frame {
                return frame.refusal(message);
            }
            native.map_or_else(String::new, |pack| {
                let echo = seen.clone().unwrap_or_else(|| pack.echo(&self.head.target, b""));
                pack.render_to(message, &echo, self.head.received)
            })
        };
        // A message is always answered by a message; its status is nobody's.
        let status = match self.frame {
            Some(_) => Some(401),
            None => native.map(|pack| pack.status),
        };
        f(&Ctx {
            audience,
            request: &self.head.request,
            native: status.map(|status| Native {
                status,
                message: self.frame.is_some(),
                render: &render,
            }),
            host: &self.head.authority,
            language: self.language(),
            now: self.head.received,
            bearer,
            form: audience == Audience::Page && self.head.method == Method::POST && !own,
            site: self.site.pages.name(self.site.name.as_str()),
            csrf: "",
            subject: self.head.request.as_str(),
            back: self.back(),
            sign: None,
            factor: None,
            no_text,
            secret: None,
            elsewhere: false,
        })
    }

    /// The same for an answer about a challenge: its forms carry a token of this challenge and credential.
    pub(crate) fn about<T>(
        &self,
        gateway: &Gateway,
        challenge: &ChallengeId,
        f: impl FnOnce(&Ctx<'_>) -> T,
    ) -> T {
        let mac = |label: &str, parts: &[&[u8]]| gateway.keyring.mac(label, parts);
        let token = match (self.audience(), &self.credential()) {
            (Audience::Page, Some(credential)) => csrf::token(challenge, credential, &mac),
            _ => String::new(),
        };
        self.with_context(|ctx| f(&Ctx { csrf: &token, ..*ctx }))
    }

    /// The same for a refusal: its page has an address of its own.
    pub(crate) fn refusing<T>(&self, gateway: &Gateway, f: impl FnOnce(&Ctx<'_>) -> T) -> T {
        let mac = |label: &str, parts: &[&[u8]]| gateway.keyring.mac(label, parts);
        self.with_context(|ctx| f(&Ctx { sign: Some(&mac), ..*ctx }))
    }
}

/// Longer paths are not linked.
const BACK_BYTES_MAX: usize = 512;
