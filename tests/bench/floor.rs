//! What the stack costs alone: the gateway's own listener and its own pool, and nothing between them.
//!
//! Never asks who, where, what or whether: its one permit comes from a policy without rules. Only a measure, so that the
//! table can tell what the pipeline adds from what TLS and HTTP cost anyway.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use rustls::RootCertStore;
use stepgate::body::Body;
use stepgate::clearance::Cleared;
use stepgate::fault::Source;
use stepgate::forward::{OnBehalf, Pool, Settings as PoolSettings, Stamp, Trust, Upstream};
use stepgate::inbound::Inbound;
use stepgate::listen::certs::{Certificates, Pair};
use stepgate::listen::{Connection, Handler, Settings, run};
use stepgate::policy::{self, PolicySet};
use stepgate::types::{RequestId, UnixMs};
use tokio_util::sync::CancellationToken;

/// Everything that is the same for every request.
struct Floor {
    pool: Arc<Pool>,
    upstream: Upstream,
    policy: PolicySet,
    on_behalf: Arc<OnBehalf>,
    request: RequestId,
    authority: Arc<str>,
}

impl Handler for Floor {
    type Place = ();

    async fn handle(
        &self,
        request: Request<Incoming>,
        _connection: &Arc<Connection<()>>,
    ) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
        let head = Inbound {
            request: self.request.clone(),
            method: parts.method,
            host: self.authority.clone(),
            authority: self.authority.clone(),
            target: target.into(),
            version: parts.version,
            headers: parts.headers,
            client: IpAddr::V4(Ipv4Addr::LOCALHOST),
            received: UnixMs(0),
        };
        let permit = self.policy.permit_ordinary_without_store();
        let cleared = Cleared::by_permit(permit, head, Body::stream(body));
        let stamp = Stamp { on_behalf: self.on_behalf.clone(), assertion: None, guarded: false };
        self.pool.forward(&self.upstream, cleared, stamp).await.unwrap_or_else(|_| {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::BAD_GATEWAY;
            response
        })
    }
}

/// Serves with the certificate in `dir` until the process is ended.
pub fn serve(dir: &Path, port: SocketAddr, upstream: SocketAddr) {
    stepgate::install_crypto();
    let pair = Pair { certificate: dir.join("gateway.pem"), key: dir.join("gateway.key") };
    let certificates = Arc::new(Certificates::load(&[pair]).expect("the kit's certificate"));
    let mut settings = Settings::new(port);
    settings.workers = 1;
    let make = |_| Arc::new(floor(port, upstream));
    run(&settings, certificates, make, CancellationToken::new()).expect("the floor listens").join();
}

fn floor(port: SocketAddr, upstream: SocketAddr) -> Floor {
    let trust = Trust::new(RootCertStore::empty()).expect("TLS can be set up");
    let authority = format!("localhost:{}", port.port());
    let empty = Source::new("floor.policy.toml", "version = 1\n");
    Floor {
        pool: Pool::new(PoolSettings::default(), trust),
        upstream: Upstream::parse(&[format!("http://{upstream}")], false).expect("an address"),
        policy: policy::load(&empty, &[], &[], &mut Vec::new()).expect("a policy without rules"),
        on_behalf: Arc::new(OnBehalf::of(port.ip(), &authority).expect("an authority")),
        request: RequestId::new("floor"),
        authority: authority.into(),
    }
}
