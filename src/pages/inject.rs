//! Puts the script for single-page applications into the exchange's own pages: one tag, first in the head.
//!
//! Never touches anything but HTML that a person navigated to, and never loosens a page's Content-Security-Policy: where
//! that would not let the script load and work, the page passes as it is. Invariant: but for the one tag, every byte of
//! the page is the exchange's.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LENGTH,
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderMap, HeaderName,
};
use http::{Response, StatusCode};
use hyper::body::{Body as HttpBody, Frame};
use lol_html::html_content::ContentType;
use lol_html::{MemorySettings, element, send};

use super::csp;
use crate::body::{Body, BoxError};

/// The answer with the script in it, or as it is.
pub fn into_page(response: Response<Body>) -> Response<Body> {
    let Some(tag) = tag_for(&response) else { return response };
    let (mut parts, body) = response.into_parts();
    for name in OF_OTHER_BYTES {
        parts.headers.remove(name);
    }
    Response::from_parts(parts, Body::stream(Page::new(body, tag)))
}

/// The tag that this answer may get; none if it is no such page.
fn tag_for(response: &Response<Body>) -> Option<String> {
    let headers = response.headers();
    let status = response.status();
    let bodiless = [StatusCode::NO_CONTENT, StatusCode::PARTIAL_CONTENT, StatusCode::NOT_MODIFIED];
    let plain = headers.get_all(CONTENT_ENCODING).iter().all(|coding| coding == "identity");
    let says = |name: HeaderName, word: &str| {
        let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values
            .flat_map(|value| value.split([',', ';']))
            .any(|it| it.trim().eq_ignore_ascii_case(word))
    };
    // A page that is saved and not shown, and one that nobody may change (RFC 9110 section 7.7).
    let untouchable =
        says(CONTENT_DISPOSITION, "attachment") || says(CACHE_CONTROL, "no-transform");
    if untouchable {
        return None;
    }
    if bodiless.contains(&status) || !plain || !is_html(headers) {
        return None;
    }
    let policies = headers.get_all(CONTENT_SECURITY_POLICY).iter().map(|value| value.to_str().ok());
    // A policy that cannot be read may forbid it.
    let policies: Vec<&str> = policies.collect::<Option<_>>()?;
    Some(match csp::allows_own_script(&policies)? {
        csp::Allowed::Plain => format!("<script src=\"{SCRIPT}\"></script>"),
        csp::Allowed::ByNonce(nonce) => {
            format!("<script nonce=\"{nonce}\" src=\"{SCRIPT}\"></script>")
        }
    })
}

/// In an encoding in which the tag is spelt as in ASCII.
fn is_html(headers: &HeaderMap) -> bool {
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let media_type = media_type.to_ascii_lowercase();
    let essence = media_type.split(';').next().unwrap_or("").trim();
    let charset = media_type.split("charset=").nth(1).map(|it| it.trim_matches(['"', ' ']));
    essence == "text/html"
        && charset.is_none_or(|it| LIKE_ASCII.iter().any(|of| it.starts_with(of)))
}

/// A page on its way to the browser.
struct Page {
    body: Body,
    /// `None` once nothing is looked for any more.
    rewriter: Option<Rewriter>,
    written: Sink,
}

type Sink = Arc<Mutex<Vec<u8>>>;
type Rewriter = send::HtmlRewriter<'static, Box<dyn FnMut(&[u8]) + Send>>;

impl Page {
    fn new(body: Body, tag: String) -> Self {
        let written = Sink::default();
        let sink = written.clone();
        let take = move |bytes: &[u8]| lock(&sink).extend_from_slice(bytes);
        let mut done = false;
        // The first element in the head, or the one that begins it where its own tag is left out.
        let first = element!("*", move |element: &mut send::Element<'_, '_>| {
            let name = element.tag_name();
            if !done && name != "html" {
                done = true;
                match name.as_str() {
                    "head" => element.prepend(&tag, ContentType::Html),
                    _ => element.before(&tag, ContentType::Html),
                }
            }
            Ok(())
        });
        let memory = MemorySettings::new()
            .with_max_allowed_memory_usage(TAG_BYTES_MAX)
            .with_graceful_bail_out_on_memory_limit_exceeded(true);
        let settings = send::Settings::new_send()
            .append_element_content_handler(first)
            .with_memory_settings(memory)
            .with_strict(false);
        let rewriter = send::HtmlRewriter::new(settings, Box::new(take) as Box<_>);
        Self { body, rewriter: Some(rewriter), written }
    }

    /// What these bytes become; bytes that may be the beginning of something wait.
    fn pass(&mut self, bytes: Bytes) -> Bytes {
        let Some(rewriter) = &mut self.rewriter else { return bytes };
        if let Err(error) = rewriter.write(&bytes) {
            tracing::debug!(%error, "the rest of a page passes unread");
            self.rewriter = None;
        }
        self.taken()
    }

    fn taken(&self) -> Bytes {
        std::mem::take(&mut *lock(&self.written)).into()
    }

    /// What waited at the page's end.
    fn last(&mut self) -> Bytes {
        if let Some(rewriter) = self.rewriter.take()
            && let Err(error) = rewriter.end()
        {
            tracing::debug!(%error, "the end of a page passes unread");
        }
        self.taken()
    }
}

impl HttpBody for Page {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        loop {
            let bytes = match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => this.pass(data),
                    Err(_trailers) => continue,
                },
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => {
                    let last = this.last();
                    return Poll::Ready((!last.is_empty()).then(|| Ok(Frame::data(last))));
                }
            };
            if !bytes.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
        }
    }
}

fn lock(sink: &Sink) -> std::sync::MutexGuard<'_, Vec<u8>> {
    sink.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Names of encodings in which ASCII is spelt as itself.
const LIKE_ASCII: [&str; 9] =
    ["utf-8", "us-ascii", "iso-8859-", "windows-", "gb", "big5", "shift_jis", "euc-", "koi8"];
const SCRIPT: &str = "/.stepgate/client.js";
/// One tag of a page; a page with a longer one passes as it is.
const TAG_BYTES_MAX: usize = 256 * 1024;
/// What is said about the bytes of a page that gets some more.
const OF_OTHER_BYTES: [HeaderName; 6] = [
    CONTENT_LENGTH,
    ETAG,
    ACCEPT_RANGES,
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-digest"),
];

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    async fn page(headers: &[(&str, &str)], html: &str) -> (HeaderMap, String) {
        // Byte by byte, so that every tag is cut somewhere.
        let mut body = Body::empty();
        for byte in html.bytes().rev() {
            body = Body::after(Bytes::copy_from_slice(&[byte]), body);
        }
        let mut response = Response::new(body);
        for (name, value) in headers {
            let name: HeaderName = name.parse().unwrap();
            response.headers_mut().append(name, value.parse().unwrap());
        }
        let (parts, body) = into_page(response).into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        (parts.headers, String::from_utf8(bytes.to_vec()).unwrap())
    }

    const HTML: (&str, &str) = ("content-type", "text/html; charset=utf-8");
    const TAG: &str = "<script src=\"/.stepgate/client.js\"></script>";

    #[tokio::test]
    async fn the_tag_comes_first_in_the_head_wherever_that_begins() {
        for (html, before) in [
            ("<!doctype html><html><head lang='>'><title>x</title></head></html>", "<title>"),
            ("<!doctype html>\n<meta charset=utf-8><script>'<head>'</script>", "<meta"),
            ("<!-- <head> --><html lang=de><body>x</body></html>", "<body>"),
            ("<HTML><HEAD><SCRIPT src=a></SCRIPT></HEAD></HTML>", "<SCRIPT"),
        ] {
            let (_, seen) = page(&[HTML], html).await;
            assert_eq!(seen, html.replacen(before, &format!("{TAG}{before}"), 1));
        }
    }

    #[tokio::test]
    async fn a_page_without_elements_and_whatever_is_no_page_pass_as_they_are() {
        for html in ["", "plain words < 3", "<!doctype html>"] {
            assert_eq!(page(&[HTML], html).await.1, html);
        }
        let html = "<html><head></head></html>";
        for headers in [
            vec![("content-type", "application/json")],
            vec![("content-type", "text/html; charset=UTF-16LE")],
            vec![("content-type", "text/html; charset=\"unicode\"")],
            vec![HTML, ("content-encoding", "gzip")],
            vec![HTML, ("content-encoding", "identity"), ("content-encoding", "gzip")],
            vec![HTML, ("content-disposition", "attachment; filename=a.html")],
            vec![HTML, ("cache-control", "private, no-transform")],
            vec![HTML, ("content-security-policy", "script-src 'sha256-abc'")],
        ] {
            assert_eq!(page(&headers, html).await.1, html, "{headers:?}");
        }
    }

    #[tokio::test]
    async fn what_was_said_about_the_bytes_is_not_said_any_more() {
        let headers = [HTML, ("content-length", "26"), ("etag", "\"1\""), ("x-other", "stays")];
        let (headers, _) = page(&headers, "<html><head></head></html>").await;
        assert!(!headers.contains_key(CONTENT_LENGTH) && !headers.contains_key(ETAG));
        assert_eq!(headers["x-other"], "stays");
    }

    #[tokio::test]
    async fn a_page_that_names_its_scripts_by_nonce_gets_a_tag_with_it() {
        let policy = ("content-security-policy", "script-src 'nonce-r4nd0m+/=' 'strict-dynamic'");
        let (_, seen) = page(&[HTML, policy], "<head></head>").await;
        assert!(seen.starts_with("<head><script nonce=\"r4nd0m+/=\" src="), "{seen}");
    }

    #[tokio::test]
    async fn a_tag_without_end_passes_whole() {
        let html = format!("<html><head data-x=\"{}", "x".repeat(2 * TAG_BYTES_MAX));
        let mut response = Response::new(Body::whole(html.clone()));
        response.headers_mut().insert(CONTENT_TYPE, "text/html".parse().unwrap());
        let bytes = into_page(response).into_body().collect().await.unwrap().to_bytes();
        assert_eq!(bytes.len(), html.len());
    }
}
