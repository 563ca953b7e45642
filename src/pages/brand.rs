//! An operator's own look: a folder with a style sheet, a logo, a few words and templates of its own.
//!
//! Never more than is bounded here, and never half: one fault and none of it is used. Invariant: what was read is what
//! was checked; files are not looked at again until the next reload.

use std::ops::Range;
use std::path::Path;

use bytes::Bytes;
use serde::Deserialize;
use toml::Spanned;

use super::templates;
use crate::fault::{Fault, Source, salvage, suggest};

/// What a site's pages have of their own.
#[derive(Debug)]
pub(super) struct Brand {
    /// The site's name for people.
    pub name: Option<String>,
    /// Where its pages begin, and where people sign in.
    pub home: String,
    pub sign_in: String,
    /// Where people find help.
    pub support: Option<String>,
    pub css: Option<Bytes>,
    pub logo: Option<Logo>,
    pub templates: Vec<Source>,
}

#[derive(Debug)]
pub(super) struct Logo {
    pub media_type: &'static str,
    pub bytes: Bytes,
}

impl Default for Brand {
    fn default() -> Self {
        Self {
            name: None,
            home: "/".to_owned(),
            sign_in: "/".to_owned(),
            support: None,
            css: None,
            logo: None,
            templates: Vec::new(),
        }
    }
}

/// `brand.toml`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: Option<Spanned<String>>,
    home: Option<Spanned<String>>,
    sign_in: Option<Spanned<String>>,
    support: Option<Spanned<String>>,
}

impl Brand {
    /// Reads a folder. `named` is where the configuration names it.
    pub fn read(
        folder: &Path,
        named: (&Source, Range<usize>),
        faults: &mut Vec<Fault>,
    ) -> Option<Self> {
        let before = faults.len();
        let mut names = match names_in(folder) {
            Ok(names) => names,
            Err(error) => {
                let said = format!("cannot read the folder {}: {error}", folder.display());
                faults.push(Fault::new(named.0, named.1, said));
                return None;
            }
        };
        names.sort();
        let mut reader = Reader { brand: Self::default(), faults };
        names.iter().for_each(|name| reader.file(&folder.join(name), name));
        let Reader { brand, faults } = reader;
        (faults.len() == before).then_some(brand)
    }
}

struct Reader<'a> {
    brand: Brand,
    faults: &'a mut Vec<Fault>,
}

impl Reader<'_> {
    fn file(&mut self, path: &Path, name: &str) {
        let logo = LOGOS.into_iter().find(|(known, _)| *known == name);
        match (name, logo) {
            (_, Some((_, media_type))) => {
                let bytes = self.bytes(path, LOGO_BYTES_MAX);
                let twice = self.brand.logo.is_some();
                if twice {
                    self.whole(path, "there is another logo already").help = Some(one_logo());
                }
                self.brand.logo = bytes.map(|bytes| Logo { media_type, bytes });
            }
            ("brand.toml", _) => {
                if let Some(source) = self.text(path) {
                    self.words(&source);
                }
            }
            ("brand.css", _) => {
                if let Some(source) = self.text(path) {
                    self.style(&source);
                    self.brand.css = Some(Bytes::copy_from_slice(source.text.as_bytes()));
                }
            }
            (name, _) if templates::known(name).is_some() => {
                let source = self.text(path);
                self.brand.templates.extend(source);
            }
            (name, _) if name.starts_with('.') || name.starts_with("README") => {}
            (name, _) => {
                let known = || {
                    let own = ["brand.toml", "brand.css"].into_iter();
                    own.chain(LOGOS.into_iter().map(|(name, _)| name)).chain(templates::names())
                };
                let all = || format!("one of: {}", known().collect::<Vec<_>>().join(", "));
                let help = suggest(name, known()).unwrap_or_else(all);
                self.whole(path, "no page uses a file of this name").help = Some(help);
            }
        }
    }

    fn words(&mut self, source: &Source) {
        let before = self.faults.len();
        let file = salvage::<File>(source, self.faults);
        let Some(file) = file.filter(|_| self.faults.len() == before) else { return };
        let mut text = |value: Option<Spanned<String>>, rule: fn(&str) -> bool, help: &str| {
            let value = value?;
            if !rule(value.get_ref()) {
                let fault = Fault::new(source, value.span(), "pages cannot use this");
                self.faults.push(fault.help(help));
            }
            Some(value.into_inner())
        };
        let name = text(file.name, is_name, "1 to 60 characters on one line");
        let page = "a path on this site, such as `/login`, or an https:// address";
        let home = text(file.home, is_page, page);
        let sign_in = text(file.sign_in, is_page, page);
        let help = "an https:// or mailto: address, or a path on this site";
        let support = text(file.support, |at| is_page(at) || at.starts_with("mailto:"), help);
        self.brand.name = name;
        self.brand.home = home.unwrap_or_else(|| "/".to_owned());
        self.brand.sign_in = sign_in.unwrap_or_else(|| self.brand.home.clone());
        self.brand.support = support;
    }

    /// The page's policy loads nothing from elsewhere, and says so to nobody.
    fn style(&mut self, source: &Source) {
        let text = &*source.text;
        for (at, _) in text.match_indices("@import") {
            let fault = Fault::new(source, at..at + 7, "a style sheet cannot import another one");
            self.faults.push(fault.help("put it all into brand.css"));
        }
        for (at, _) in text.match_indices("url(") {
            let inside = text[at + 4..].trim_start_matches(['"', '\'', ' ']);
            if !inside.starts_with("/.stepgate/") {
                let fault = Fault::new(source, at..at + 4, "pages load nothing from there");
                self.faults
                    .push(fault.help("only `url(/.stepgate/logo)`: the logo beside this file"));
            }
        }
    }

    fn text(&mut self, path: &Path) -> Option<Source> {
        let bytes = self.bytes(path, TEXT_BYTES_MAX)?;
        match std::str::from_utf8(&bytes) {
            Ok(text) => Some(Source::new(path, text)),
            Err(_) => {
                self.whole(path, "this file is not UTF-8 text");
                None
            }
        }
    }

    fn bytes(&mut self, path: &Path, bytes_max: u64) -> Option<Bytes> {
        let length = std::fs::metadata(path).map(|meta| meta.len());
        match length.and_then(|length| Ok((length, std::fs::read(path)?))) {
            Ok((length, bytes)) if length <= bytes_max => Some(bytes.into()),
            Ok(_) => {
                self.whole(path, &format!("this file is larger than {} KiB", bytes_max / 1024));
                None
            }
            Err(error) => {
                self.whole(path, &format!("cannot read this file: {error}"));
                None
            }
        }
    }

    /// A fault of a file as a whole, to be helped.
    fn whole(&mut self, path: &Path, message: &str) -> &mut Fault {
        let at = self.faults.len();
        self.faults.push(Fault::new(&Source::new(path, ""), 0..0, message));
        &mut self.faults[at]
    }
}

fn names_in(folder: &Path) -> std::io::Result<Vec<String>> {
    let entries = std::fs::read_dir(folder)?.take(FILES_MAX);
    entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

fn is_name(text: &str) -> bool {
    !text.trim().is_empty() && text.chars().count() <= 60 && !text.contains(char::is_control)
}

fn is_page(text: &str) -> bool {
    let plain = !text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '\\');
    let own = text.starts_with('/') && !text.starts_with("//");
    plain && (own || text.starts_with("https://"))
}

fn one_logo() -> String {
    "keep one of them".to_owned()
}

const LOGOS: [(&str, &str); 4] = [
    ("logo.svg", "image/svg+xml"),
    ("logo.png", "image/png"),
    ("logo.webp", "image/webp"),
    ("logo.jpg", "image/jpeg"),
];
const TEXT_BYTES_MAX: u64 = 64 * 1024;
const LOGO_BYTES_MAX: u64 = 128 * 1024;
const FILES_MAX: usize = 64;
