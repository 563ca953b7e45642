//! Certificates made on the spot: a private authority and one leaf for this machine's names.
//!
//! Never for production: whoever reads the directory holds the leaf's key. The authority's own key is thrown away at
//! once, so nothing else can ever be signed by it.

use std::fs;
use std::io;
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use stepgate::world::{Clock, SystemClock};

/// Names that the leaf is good for.
pub const NAMES: [&str; 3] = ["localhost", "exchange.localhost", "127.0.0.1"];

/// Days until the leaf ends; browsers refuse much longer ones.
const DAYS: i64 = 365;

/// Why there are no certificates.
#[derive(Debug, thiserror::Error)]
pub enum CertsError {
    #[error("the certificates could not be made")]
    Make(#[from] rcgen::Error),
    #[error("the certificates could not be written")]
    Write(#[from] io::Error),
}

/// Writes `ca.pem`, `gateway.pem` (leaf, then authority) and `gateway.key` into `dir`.
pub fn write(dir: &Path) -> Result<(), CertsError> {
    let authority_key = KeyPair::generate()?;
    let authority_params = authority()?;
    let authority_pem = authority_params.self_signed(&authority_key)?.pem();
    let issuer = Issuer::new(authority_params, authority_key);
    let leaf_key = KeyPair::generate()?;
    let leaf_pem = leaf()?.signed_by(&leaf_key, &issuer)?.pem();

    fs::create_dir_all(dir)?;
    fs::write(dir.join("ca.pem"), &authority_pem)?;
    fs::write(dir.join("gateway.pem"), leaf_pem + &authority_pem)?;
    write_secret(&dir.join("gateway.key"), &leaf_key.serialize_pem())?;
    Ok(())
}

/// Writes a file that only its owner may read.
pub fn write_secret(path: &Path, text: &str) -> io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(path)?.write_all(text.as_bytes())
}

fn authority() -> Result<CertificateParams, rcgen::Error> {
    let mut params = dated(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.distinguished_name.push(DnType::CommonName, "stepgate development authority");
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn leaf() -> Result<CertificateParams, rcgen::Error> {
    let mut params = dated(NAMES.map(str::to_owned).to_vec())?;
    params.distinguished_name.push(DnType::CommonName, "localhost");
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(params)
}

/// Valid from yesterday, so that a clock a little behind does not matter.
fn dated(names: Vec<String>) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    let day = |offset: i64| {
        let seconds = SystemClock.now().seconds() + offset * 86_400;
        let at = jiff::Timestamp::from_second(seconds).unwrap_or_default();
        let date = at.to_zoned(jiff::tz::TimeZone::UTC).date();
        let part = |number: i8| u8::try_from(number).unwrap_or(1);
        date_time_ymd(i32::from(date.year()), part(date.month()), part(date.day()))
    };
    params.not_before = day(-1);
    params.not_after = day(DAYS);
    Ok(params)
}
