//! The configuration: all faults of `stepgate.toml`, or a `Config`.
//!
//! Never keeps a secret inline: secrets come from files or the environment. Paths are relative to the file. What the
//! named files hold (packs, policies, keys, certificates) is read by the modules that own them.

mod budget;
mod changed;
mod check;
mod file;
mod hidden;
mod mail;
mod operators;
mod prices;
mod store;
mod webauthn;

use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ipnet::IpNet;

pub use self::changed::{needing_restart, say_restart};
pub use self::mail::Mail;
pub use self::prices::{Prices, PricesFrom};
pub use self::store::{RedisStore, StoreConfig};
pub use self::webauthn::Webauthn;
use crate::fault::{Fault, Source, in_order, salvage, suggest};
use crate::stepup::budget::Budget;
use crate::stepup::challenge::Limits;

/// A path as written, and where, so that a fault of the file it names can point at the line.
#[derive(Clone, Debug)]
pub struct FileRef {
    pub path: PathBuf,
    pub span: Range<usize>,
}

/// A secret as written: `file:PATH` or `env:NAME`.
#[derive(Clone, Debug)]
pub enum SecretRef {
    File(FileRef),
    Env { name: String, span: Range<usize> },
}

impl SecretRef {
    /// What stands where the file says nothing that can be used: see `Surveyed`.
    fn stand_in(span: Range<usize>) -> Self {
        Self::File(FileRef { path: PathBuf::new(), span })
    }

    pub fn is_stand_in(&self) -> bool {
        matches!(self, Self::File(file) if file.path.as_os_str().is_empty())
    }
}

/// Everything `stepgate.toml` says, checked.
#[derive(Clone, Debug)]
pub struct Config {
    pub source: Source,
    pub listen: Listen,
    pub admin: Option<Admin>,
    pub store: StoreConfig,
    pub master_key: SecretRef,
    pub geo: Geo,
    pub audit: PathBuf,
    pub sms: Option<Sms>,
    pub mail: Option<Mail>,
    pub limits: Limits,
    pub prices: Option<Prices>,
    pub sites: Vec<Site>,
}

#[derive(Clone, Debug)]
pub struct Listen {
    pub address: SocketAddr,
    /// The first is the default; the others serve the names that stand in them.
    pub tls: Vec<Pair>,
    pub trusted_proxies: Vec<IpNet>,
    pub proxy_protocol: bool,
    pub connections_max: usize,
    pub workers: usize,
    pub handshake_timeout_ms: u64,
    pub header_timeout_ms: u64,
    pub body_timeout_ms: u64,
    pub stall_timeout_ms: u64,
    pub drain_timeout_ms: u64,
}

#[derive(Clone, Debug)]
pub struct Pair {
    pub certificate: FileRef,
    pub key: FileRef,
}

#[derive(Clone, Debug)]
pub struct Admin {
    pub address: SocketAddr,
    pub token: SecretRef,
    /// Beside the one with that token.
    pub operators: Vec<AdminOperator>,
    /// Whether what weakens an account takes two operators; false only if the file says so.
    pub four_eyes: bool,
}

#[derive(Clone, Debug)]
pub struct AdminOperator {
    pub name: String,
    pub token: SecretRef,
}

#[derive(Clone, Debug)]
pub struct Geo {
    pub city: Option<FileRef>,
    pub asn: Option<FileRef>,
    pub lists: Option<FileRef>,
    pub age_max_days: u64,
}

#[derive(Clone, Debug)]
pub struct Sms {
    pub provider: SmsProvider,
    pub blocked_prefixes: Vec<String>,
    pub budget: Budget,
}

#[derive(Clone, Debug)]
pub enum SmsProvider {
    Log { file: Option<PathBuf> },
    Twilio { url: String, from: String, credentials: SecretRef },
    Webhook { url: String, credentials: SecretRef },
}

#[derive(Clone, Debug)]
pub struct Site {
    pub name: Arc<str>,
    pub hosts: Vec<String>,
    pub upstream: Vec<String>,
    pub upstream_span: Range<usize>,
    pub upstream_h2: bool,
    /// The script for single-page applications is put into pages.
    pub inject: bool,
    pub actions: Vec<FileRef>,
    pub policy: FileRef,
    /// A candidate that is only observed.
    pub shadow_policy: Option<FileRef>,
    pub accounts: Arc<str>,
    /// Folder of its pages' own look.
    pub brand: Option<FileRef>,
    /// Where people reach it, without a path: what links in notices begin with.
    pub address: String,
    /// Who asks passkeys; nothing where no host can have them.
    pub webauthn: Option<Webauthn>,
    pub identity: Vec<Identity>,
}

#[derive(Clone, Debug)]
pub struct Identity {
    pub from: Vec<String>,
    pub from_span: Range<usize>,
    pub kind: IdentityKind,
}

#[derive(Clone, Debug)]
pub enum IdentityKind {
    Jwt { algorithms: Vec<String>, keys: Keys, issuer: Option<String>, audience: Option<String> },
    ApiKeyFile { accounts: FileRef },
    Introspect { url: String, credentials: Option<SecretRef>, api_key: bool },
}

#[derive(Clone, Debug)]
pub enum Keys {
    File(FileRef),
    Url(String),
}

/// Reads and checks the configuration.
///
/// # Errors
/// Every fault found, each with its place.
pub fn load(path: &Path) -> Result<Config, Vec<Fault>> {
    let mut faults = Vec::new();
    match gather_faults(path, &mut faults) {
        Some(config) if faults.is_empty() => Ok(config),
        _ => Err(in_order(faults)),
    }
}

/// The same for `doctor`: what could be read in spite of faults, if all that is needed could.
pub fn gather_faults(path: &Path, faults: &mut Vec<Fault>) -> Option<Config> {
    survey(path, faults).filter(|found| found.whole).map(|found| found.config)
}

/// A configuration that was read in spite of faults.
pub struct Surveyed {
    pub config: Config,
    /// False: for something that is needed a stand-in was put. Nothing may then be started or asked.
    pub whole: bool,
}

/// The same for `check`, which goes on to the files that are named whatever else is wrong. What is told at the place of
/// a stand-in was told already: see `fault::in_order`.
pub fn survey(path: &Path, faults: &mut Vec<Fault>) -> Option<Surveyed> {
    match read_source(path) {
        Ok(source) => read_config(&source, faults),
        Err(fault) => {
            faults.push(fault.help("`-c FILE` says where the configuration is"));
            None
        }
    }
}

/// The same for a text that is already in memory.
///
/// # Errors
/// Every fault found.
pub fn parse(source: &Source) -> Result<Config, Vec<Fault>> {
    let mut faults = Vec::new();
    match read_config(source, &mut faults) {
        Some(found) if faults.is_empty() => Ok(found.config),
        _ => Err(in_order(faults)),
    }
}

fn read_config(source: &Source, faults: &mut Vec<Fault>) -> Option<Surveyed> {
    let shown = hidden::hide(source);
    let before = faults.len();
    let file: Option<file::File> = salvage(source, faults);
    faults.iter_mut().skip(before).for_each(|fault| hidden::conceal(fault, &shown));
    Some(check::Checker::new(source, shown, faults).config(file?))
}

/// A file's text, or a fault that says why it cannot be read.
pub fn read_source(path: &Path) -> Result<Source, Box<Fault>> {
    let bytes = std::fs::metadata(path).map_or(0, |it| it.len());
    if bytes > FILE_BYTES_MAX {
        let nameless = Source::new(path, "");
        let message = format!("this file has {bytes} bytes, and at most {FILE_BYTES_MAX} are read");
        return Err(Box::new(Fault::new(&nameless, 0..0, message)));
    }
    match std::fs::read_to_string(path) {
        // Some editors put a byte order mark at the beginning; nobody sees it.
        Ok(text) => Ok(Source::new(path, text.strip_prefix('\u{feff}').unwrap_or(&text))),
        Err(error) => {
            let message = match error.kind() {
                std::io::ErrorKind::InvalidData => "this file is not UTF-8 text".to_owned(),
                _ => format!("cannot read this file: {error}"),
            };
            Err(Box::new(Fault::new(&Source::new(path, ""), 0..0, message)))
        }
    }
}

/// The file beside it that was probably meant.
fn neighbour(path: &Path) -> Option<String> {
    if path.exists() {
        return None;
    }
    let entries = std::fs::read_dir(path.parent().filter(|it| !it.as_os_str().is_empty())?).ok()?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut names: Vec<String> = names.collect();
    names.sort();
    suggest(path.file_name()?.to_str()?, names.iter().map(String::as_str))
}

/// A list of API keys may be long; a policy of this length is another file.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// Of what people write by hand.
const TEXT_BYTES_MAX: usize = 1 << 20;

impl Config {
    /// The same for a pack or a policy, which people write by hand.
    pub fn read_text(&self, file: &FileRef, faults: &mut Vec<Fault>) -> Option<Source> {
        let source = self.read(file, faults)?;
        if source.text.len() <= TEXT_BYTES_MAX {
            return Some(source);
        }
        let (path, bytes) = (file.path.display(), source.text.len());
        let message = format!("{path} has {bytes} bytes, and at most {TEXT_BYTES_MAX} are read");
        let help = "is it the right file? Long lists of rules are split among sites";
        faults.push(Fault::new(&self.source, file.span.clone(), message).help(help));
        None
    }

    /// Reads a file the configuration names; a fault points at the line that names it.
    pub fn read(&self, file: &FileRef, faults: &mut Vec<Fault>) -> Option<Source> {
        match read_source(&file.path) {
            Ok(source) => Some(source),
            Err(fault) => {
                let message = format!("{} ({})", fault.message, file.path.display());
                let help = neighbour(&file.path).or(fault.help);
                let fault = Fault::new(&self.source, file.span.clone(), message);
                faults.push(Fault { help, ..fault });
                None
            }
        }
    }

    /// The secret's text without surrounding white space.
    pub fn secret(&self, secret: &SecretRef, faults: &mut Vec<Fault>) -> Option<Source> {
        match secret {
            SecretRef::File(file) => self.read(file, faults),
            SecretRef::Env { name, span } => match std::env::var(name) {
                Ok(value) => Some(Source::new(format!("env:{name}"), value)),
                Err(_) => {
                    faults.push(
                        Fault::new(
                            &self.source,
                            span.clone(),
                            format!("the environment variable {name} is not set"),
                        )
                        .help("set it, or name a file with `file:…`"),
                    );
                    None
                }
            },
        }
    }
}
