//! Which ports the demo listens on, and what to say when one is taken.
//!
//! Never leaves this machine: every listener is on 127.0.0.1. `DEMO_PORTS=free` takes free ports everywhere, for
//! tests; a variable per port moves one of them.

use std::net::SocketAddr;

use anyhow::Context;
use tokio::net::TcpListener;

/// The gateway's own listener, behind the doors.
pub const GATEWAY: Port = Port { what: "the gateway", variable: "DEMO_GATEWAY", usual: 8440 };
/// Its admin interface.
pub const ADMIN: Port = Port { what: "the admin interface", variable: "DEMO_ADMIN", usual: 9443 };
/// The toy exchange.
pub const EXCHANGE: Port = Port { what: "the exchange", variable: "DEMO_EXCHANGE", usual: 9000 };
/// The toy exchange's request log.
pub const CONTROL: Port = Port { what: "the control port", variable: "DEMO_CONTROL", usual: 9001 };

/// A port with a name and a usual number.
#[derive(Clone, Copy, Debug)]
pub struct Port {
    pub what: &'static str,
    pub variable: &'static str,
    pub usual: u16,
}

impl Port {
    /// Where to listen; port 0 means a free one.
    pub fn address(&self) -> anyhow::Result<SocketAddr> {
        let port = match std::env::var(self.variable) {
            Ok(text) => {
                text.parse().with_context(|| format!("{}={text} is not a port", self.variable))?
            }
            Err(_) if std::env::var("DEMO_PORTS").is_ok_and(|it| it == "free") => 0,
            Err(_) => self.usual,
        };
        Ok(([127, 0, 0, 1], port).into())
    }

    pub async fn bind(&self) -> anyhow::Result<TcpListener> {
        let address = self.address()?;
        TcpListener::bind(address).await.with_context(|| self.taken(address))
    }

    /// Keeps the port for a process that we start: drop the listener right before that. Until then nobody else,
    /// our own other listeners included, is given this port.
    pub async fn reserve(&self) -> anyhow::Result<(SocketAddr, TcpListener)> {
        let listener = self.bind().await?;
        Ok((listener.local_addr()?, listener))
    }

    pub fn taken(&self, address: SocketAddr) -> String {
        format!(
            "port {} for {} is taken; stop what listens there or choose another with {}=PORT",
            address.port(),
            self.what,
            self.variable
        )
    }
}
