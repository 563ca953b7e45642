//! Nanoseconds that the raw look at HTTP/1 costs per request.
//!
//! Includes the very files of the listener, because nobody else has a use for them. Nothing here fails on a slow machine:
//! it measures.

#[path = "../../src/listen/head.rs"]
#[allow(dead_code, unused_imports)]
mod head;
#[path = "../../src/octets.rs"]
#[allow(dead_code, unused_imports)]
mod octets;
#[path = "../../src/listen/pulse.rs"]
#[allow(dead_code)]
mod pulse;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use head::Gate;
use pulse::Pulse;
use stepgate::listen::Settings;
use tokio::io::ReadBuf;

const ROUNDS: usize = 201;
const REQUESTS: u32 = 2_000;

/// What an exchange's own client sends, about 400 bytes.
const API: &str = "POST /api/v5/trade/order HTTP/1.1\r\nHost: api.exchange.example\r\n\
    User-Agent: python-requests/2.32.3\r\nAccept-Encoding: gzip, deflate\r\nAccept: application/json\r\n\
    Connection: keep-alive\r\nContent-Type: application/json\r\n\
    OK-ACCESS-KEY: 8a1f2b3c-4d5e-6f70-8192-a3b4c5d6e7f8\r\n\
    OK-ACCESS-SIGN: q1W2e3R4t5Y6u7I8o9P0aSdFgHjKlZxCvBnM1234567=\r\n\
    OK-ACCESS-TIMESTAMP: 2026-11-20T12:00:00.000Z\r\nOK-ACCESS-PASSPHRASE: hunter2hunter2\r\n\
    Content-Length: 0\r\n\r\n";

fn main() {
    let browser = format!(
        "GET /api/v5/market/ticker?instId=BTC-USDT HTTP/1.1\r\nHost: exchange.example\r\n\
         User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
         Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
         Accept-Language: en-GB,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n\
         Cookie: session={}\r\nSec-Fetch-Mode: navigate\r\n\r\n",
        "eyJhbGciOiJFUzI1NiJ9".repeat(40)
    );
    let body = "a".repeat(1_000).into_bytes();
    let chunks = format!(
        "POST /api HTTP/1.1\r\nHost: exchange.example\r\nTransfer-Encoding: chunked\r\n\r\n\
         3e8\r\n{}\r\n0\r\n\r\n",
        String::from_utf8_lossy(&body)
    );
    println!(
        "| request | bytes | ns, least of {ROUNDS} rounds | ns, median |\n| --- | --- | --- | --- |"
    );
    row("an API client's head, whole", API.as_bytes(), usize::MAX);
    row("the same in two reads", API.as_bytes(), API.len() / 2);
    row("a browser's head with its session", browser.as_bytes(), usize::MAX);
    row("one chunk of 1000 bytes", chunks.as_bytes(), usize::MAX);
}

fn row(name: &str, request: &[u8], piece: usize) {
    let settings = Settings::new(([127, 0, 0, 1], 0).into());
    let mut gate = Gate::new(Arc::new(Pulse::new(&settings)));
    let mut space = vec![0; 16 * 1024];
    let mut times: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let begun = Instant::now();
            for _ in 0..REQUESTS {
                let passed = pass(&mut gate, &mut space, request, piece);
                assert_eq!(passed, request.len(), "{name} is refused");
            }
            begun.elapsed().as_nanos() as f64 / f64::from(REQUESTS)
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!("| {name} | {} | {:.0} | {:.0} |", request.len(), times[0], times[ROUNDS / 2]);
}

fn pass(gate: &mut Gate, space: &mut [u8], request: &[u8], piece: usize) -> usize {
    let mut passed = 0;
    for read in black_box(request).chunks(piece.min(request.len())) {
        let mut buf = ReadBuf::new(space);
        buf.put_slice(read);
        gate.pass(&mut buf, 0);
        passed += buf.filled().len();
        buf.clear();
        while gate.take_released(&mut buf).is_ok_and(|more| more) {
            passed += buf.filled().len();
            buf.clear();
        }
    }
    passed
}
