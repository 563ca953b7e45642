//! A connection to one server: TCP without delay, TLS, RESP3, user and password.
//!
//! Never repeats anything and never waits longer than it is told. Invariant: a refusal says which server it was and
//! which of these steps did not succeed.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::{AsyncPushSender, MultiplexedConnection};
use redis::{AsyncConnectionConfig, ProtocolVersion, RedisConnectionInfo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

use super::trouble::Trouble;
use crate::store::StoreError;
use crate::store::redis::{Server, Settings, Tls};

/// Who we are to a server.
struct Login {
    user: Option<String>,
    password: Option<Zeroizing<String>>,
    database: u16,
}

/// Whom we call: a server that keeps keys, or a sentinel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whom {
    Keeper,
    Sentinel,
}

pub(super) struct Dialer {
    tls: Option<TlsConnector>,
    keeper: Login,
    sentinel: Login,
}

/// A connection and the task that moves its bytes, which ends with it even if the server is silent.
pub(super) struct Dialed {
    pub(super) connection: MultiplexedConnection,
    driver: JoinHandle<()>,
}

impl Drop for Dialed {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Dialer {
    pub(super) fn new(settings: &Settings) -> Result<Self, StoreError> {
        let tls = settings.tls.as_ref().map(connector).transpose()?;
        let login = |user: &Option<String>, password: &Option<Zeroizing<String>>, database| Login {
            user: user.clone(),
            password: password.clone(),
            database,
        };
        Ok(Self {
            tls,
            keeper: login(&settings.user, &settings.password, settings.database),
            sentinel: login(&settings.sentinel_user, &settings.sentinel_password, 0),
        })
    }

    /// Connects within `limit`. What the server pushes goes to `pushes`.
    pub(super) async fn dial(
        &self,
        server: &Server,
        whom: Whom,
        pushes: Option<Arc<dyn AsyncPushSender>>,
        limit: Duration,
    ) -> Result<Dialed, Trouble> {
        match timeout(limit, self.steps(server, whom, pushes, limit)).await {
            Ok(dialed) => dialed,
            Err(_) => Err(Trouble::passing(format!(
                "{server} did not answer within {} ms",
                limit.as_millis()
            ))),
        }
    }

    async fn steps(
        &self,
        server: &Server,
        whom: Whom,
        pushes: Option<Arc<dyn AsyncPushSender>>,
        limit: Duration,
    ) -> Result<Dialed, Trouble> {
        let stream = TcpStream::connect((server.host.as_str(), server.port))
            .await
            .and_then(|stream| stream.set_nodelay(true).map(|()| stream))
            .map_err(|error| Trouble::passing(format!("{server} cannot be reached: {error}")))?;
        let login = match whom {
            Whom::Keeper => &self.keeper,
            Whom::Sentinel => &self.sentinel,
        };
        let Some(tls) = &self.tls else {
            return login.greet(server, stream, pushes).await;
        };
        let name = ServerName::try_from(server.host.clone())
            .map_err(|_| Trouble::lasting(format!("{server}: not a name that TLS can verify")))?;
        // A server that waits for another protocol waits long.
        let shaken = timeout(limit * 3 / 4, tls.connect(name, stream)).await;
        let stream = match shaken {
            Ok(stream) => stream.map_err(|error| tls_trouble(server, &error))?,
            Err(_) => {
                return Err(Trouble::passing(format!(
                    "{server} does not answer in TLS: is this its TLS port, and not that of `redis://`?"
                )));
            }
        };
        login.greet(server, stream, pushes).await
    }
}

impl Login {
    async fn greet<S>(
        &self,
        server: &Server,
        stream: S,
        pushes: Option<Arc<dyn AsyncPushSender>>,
    ) -> Result<Dialed, Trouble>
    where
        S: Unpin + tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + 'static,
    {
        let mut info = RedisConnectionInfo::default()
            .set_protocol(ProtocolVersion::RESP3)
            .set_skip_set_lib_name()
            .set_db(i64::from(self.database));
        if let Some(password) = &self.password {
            info = info
                .set_username(self.user.as_deref().unwrap_or("default"))
                .set_password(password.as_str());
        }
        let mut config = AsyncConnectionConfig::new()
            .set_response_timeout(None) // callers have deadlines of their own
            .set_pipeline_buffer_size(QUEUE_MAX);
        if let Some(pushes) = pushes {
            config = config.set_push_sender(pushes);
        }
        let (connection, driver) = MultiplexedConnection::new_with_config(&info, stream, config)
            .await
            .map_err(|error| Trouble::of(server, &error))?;
        Ok(Dialed { connection, driver: tokio::spawn(driver) })
    }
}

/// Calls that wait for the connection to take them.
const QUEUE_MAX: usize = 1_024;

fn tls_trouble(server: &Server, error: &io::Error) -> Trouble {
    let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match cause {
        Some(rustls::Error::InvalidCertificate(why)) => Trouble::lasting(format!(
            "{server} shows a certificate that is not accepted ({why}): is `ca` in [store] the authority that signed it, for this very name?"
        )),
        Some(rustls::Error::AlertReceived(alert)) => Trouble::lasting(format!(
            "{server} refuses our side of TLS ({alert:?}): does it want `certificate` and `key` in [store]?"
        )),
        Some(rustls::Error::InvalidMessage(_)) => Trouble::lasting(format!(
            "{server} does not speak TLS on this port: use its TLS port, or `redis…://`"
        )),
        _ => Trouble::passing(format!("{server}: TLS failed: {error}")),
    }
}

fn connector(tls: &Tls) -> Result<TlsConnector, StoreError> {
    let unusable = |what: &str| StoreError::Unavailable(format!("`{what}` in [store]"));
    let roots = match &tls.authorities {
        Some(pem) => own_roots(pem).ok_or_else(|| unusable("ca: no certificate in the file"))?,
        None => system_roots(),
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| StoreError::Unavailable(format!("TLS cannot be set up: {error}")))?
        .with_root_certificates(roots);
    let config = match &tls.identity {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => {
            let chain = CertificateDer::pem_slice_iter(chain)
                .collect::<Result<Vec<_>, _>>()
                .ok()
                .filter(|chain| !chain.is_empty())
                .ok_or_else(|| unusable("certificate: no certificate in the file"))?;
            let key = PrivateKeyDer::from_pem_slice(key)
                .map_err(|_| unusable("key: no private key in the file"))?;
            builder.with_client_auth_cert(chain, key).map_err(|error| {
                StoreError::Unavailable(format!(
                    "`certificate` and `key` in [store] do not belong together: {error}"
                ))
            })?
        }
    };
    Ok(TlsConnector::from(Arc::new(config)))
}

fn own_roots(pem: &[u8]) -> Option<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        roots.add(certificate.ok()?).ok()?;
    }
    (!roots.is_empty()).then_some(roots)
}

fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}
