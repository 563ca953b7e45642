//! Doors: three ports of this machine, each of which makes its visitors come from another city.
//!
//! Never reads what passes: a door puts a PROXY protocol version 2 header with an address of its city in front of the
//! connection, as a load balancer in front of the gateway would, and copies bytes both ways.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use crate::ports::Port;

/// A city, the address that its visitors get, and the port of its door.
#[derive(Clone, Copy, Debug)]
pub struct City {
    pub name: &'static str,
    pub address: Ipv4Addr,
    pub port: Port,
}

/// All of them; the addresses are documentation and benchmark ranges, placed by the GeoIP test data.
pub const CITIES: [City; 3] = [
    City {
        name: "Tokyo",
        address: Ipv4Addr::new(203, 0, 113, 10),
        port: Port { what: "the Tokyo door", variable: "DEMO_TOKYO", usual: 8443 },
    },
    City {
        name: "Frankfurt",
        address: Ipv4Addr::new(198, 51, 100, 7),
        port: Port { what: "the Frankfurt door", variable: "DEMO_FRANKFURT", usual: 8444 },
    },
    City {
        name: "Moscow",
        address: Ipv4Addr::new(198, 18, 0, 9),
        port: Port { what: "the Moscow door", variable: "DEMO_MOSCOW", usual: 8445 },
    },
];

/// Serves one door until the task is dropped.
pub async fn serve(listener: TcpListener, city: Ipv4Addr, gateway: SocketAddr) {
    loop {
        let Ok((visitor, from)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await; // out of file descriptors, most likely
            continue;
        };
        tokio::spawn(async move {
            let to = visitor.local_addr().map_or(0, |address| address.port());
            // An error here is one side that went away; the other is closed with it.
            let _ = relay(visitor, header(city, from.port(), to), gateway).await;
        });
    }
}

async fn relay(
    mut visitor: TcpStream,
    header: [u8; 28],
    gateway: SocketAddr,
) -> std::io::Result<()> {
    let mut inner = TcpStream::connect(gateway).await?;
    visitor.set_nodelay(true)?;
    inner.set_nodelay(true)?;
    inner.write_all(&header).await?;
    copy_bidirectional(&mut visitor, &mut inner).await?;
    Ok(())
}

/// PROXY protocol version 2, command PROXY, TCP over IPv4 (haproxy's proxy-protocol.txt, §2.2).
fn header(city: Ipv4Addr, from_port: u16, to_port: u16) -> [u8; 28] {
    let mut header = [0; 28];
    header[..12].copy_from_slice(b"\r\n\r\n\0\r\nQUIT\n");
    header[12] = 0x21; // version 2, PROXY
    header[13] = 0x11; // AF_INET, STREAM
    header[14..16].copy_from_slice(&12_u16.to_be_bytes());
    header[16..20].copy_from_slice(&city.octets());
    header[20..24].copy_from_slice(&Ipv4Addr::LOCALHOST.octets());
    header[24..26].copy_from_slice(&from_port.to_be_bytes());
    header[26..28].copy_from_slice(&to_port.to_be_bytes());
    header
}
