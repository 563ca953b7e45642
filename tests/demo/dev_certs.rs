//! `cargo run --example dev_certs [DIR]`: certificates for this machine's names, for trying the gateway by hand.
//!
//! Never for production. Writes `ca.pem`, `gateway.pem` and `gateway.key` into `certs/` or DIR.

mod certs;

use std::path::PathBuf;

fn main() -> anyhow::Result<()> {
    let given = std::env::args_os().nth(1).map(PathBuf::from);
    let dir = given.unwrap_or_else(|| "certs".into());
    certs::write(&dir)?;
    println!("Wrote ca.pem, gateway.pem and gateway.key to {}", dir.display());
    println!("They are good for {}.", certs::NAMES.join(", "));
    Ok(())
}
