//! From a checked configuration to what requests use: sites with packs, policies, identities, upstreams.
//!
//! Never half done: every file is read and every fault of every file collected before anything is swapped in.
//! Invariant: `check`, start and reload use this same function, so that what was checked is what will run.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::admin::operators::FourEyes;
use crate::admin::{Operator, Operators, Token};
use crate::classify::{self, ActionSet, Detected};
use crate::config::{self, Config, FileRef, IdentityKind, Keys, PricesFrom, SecretRef};
use crate::crypto::Keyring;
use crate::fault::{Fault, Source, in_order};
use crate::fetch::Fetch;
use crate::forward::Upstream;
use crate::gateway::{Live, Site};
use crate::identify::{Identifier, IdentitySettings, KeySource, Kind, Settings as Identities};
use crate::listen::certs::Pair;
use crate::locate::maxmind::{Locator, Settings as Geo};
use crate::metrics::Metrics;
use crate::pages::Pages;
use crate::pipeline::{Candidate, Lines};
use crate::policy::draft::Draft;
use crate::policy::shadow::ShadowPolicy;
use crate::policy::{self, PolicySet, cases};
use crate::prices::Prices;
use crate::rawhttp;
use crate::stepup::passkey::Verifier;
use crate::types::{ActionName, Fields, SiteName, UnixMs};
use crate::watch::Seen;
use crate::world::Clock;

/// Everything that a reload replaces, and what `check` counts.
pub struct Assembled {
    pub live: Live,
    pub cases: usize,
}

/// Reads every file that the sites name. `previous` lends its verified keys and caches to unchanged identities.
///
/// # Errors
/// All faults of all files.
pub fn assemble(
    config: &Config,
    fetch: &Fetch,
    metrics: &Metrics,
    previous: Option<&Live>,
) -> Result<Assembled, Vec<Fault>> {
    let found = survey(config, fetch, metrics, previous);
    match found.live {
        Some(live) => Ok(Assembled { live, cases: found.cases }),
        None => Err(in_order(found.faults)),
    }
}

/// The same for `check`: what can be said of files that have faults.
pub struct Survey {
    /// `None` if there is any fault.
    live: Option<Live>,
    pub cases: usize,
    pub faults: Vec<Fault>,
    /// What may not be as meant, though nothing is refused for it.
    pub warnings: Vec<Fault>,
}

/// Reads every file that the sites name, whatever is wrong with the others.
pub fn survey(
    config: &Config,
    fetch: &Fetch,
    metrics: &Metrics,
    previous: Option<&Live>,
) -> Survey {
    let (mut faults, mut warnings) = (Vec::new(), Vec::new());
    let prices = prices(config, previous, &mut faults);
    let (mut sites, mut cases) = (Vec::new(), 0);
    for site in &config.sites {
        let (faults, warnings) = (&mut faults, &mut warnings);
        let mut assembler = Assembler { config, site, fetch, faults, warnings, ran: 0 };
        let previous = site.hosts.first().and_then(|host| previous?.site(host));
        sites.extend(assembler.site(metrics, &prices, previous.map(Arc::as_ref)));
        cases += assembler.ran;
    }
    let live = faults.is_empty().then(|| Live::new(sites));
    Survey { live, cases, faults, warnings }
}

/// The key that seals state at rest.
pub fn master_key(config: &Config, faults: &mut Vec<Fault>) -> Option<Keyring> {
    let source = config.secret(&config.master_key, faults)?;
    Keyring::parse(&source, faults)
}

/// The GeoIP files and lists.
pub fn locator(config: &Config, clock: Arc<dyn Clock>, faults: &mut Vec<Fault>) -> Option<Locator> {
    let path = |file: &Option<FileRef>| file.as_ref().map(|file| file.path.clone());
    let settings = Geo {
        city: path(&config.geo.city),
        asn: path(&config.geo.asn),
        lists: path(&config.geo.lists),
        age_max_days: config.geo.age_max_days,
    };
    Locator::open(settings, clock, faults)
}

/// The certificates' files, the default first.
pub fn pairs(config: &Config) -> Vec<Pair> {
    let pair = |pair: &config::Pair| Pair {
        certificate: pair.certificate.path.clone(),
        key: pair.key.path.clone(),
    };
    config.listen.tls.iter().map(pair).collect()
}

/// Who may ask at the admin interface.
pub fn operators(config: &Config, faults: &mut Vec<Fault>) -> Option<Operators> {
    let admin = config.admin.as_ref()?;
    let mut operators = admin_token(config, faults).map(Operators::from);
    let mut texts: Vec<Zeroizing<String>> = Vec::new();
    texts.extend(config.secret(&admin.token, &mut Vec::new()).map(|it| trimmed(&it.text)));
    for operator in &admin.operators {
        let Some(text) = config.secret(&operator.token, faults).map(|it| trimmed(&it.text)) else {
            operators = None;
            continue;
        };
        let twice = texts.contains(&text);
        if twice {
            // Whoever knows it would be two operators.
            let what = format!("the token of `{}` is another operator's", operator.name);
            faults.push(
                Fault::new(&config.source, span_of(&operator.token), what)
                    .help("give each operator a token of its own: `openssl rand -hex 32`"),
            );
        }
        let token = token(config, &operator.token, &text, faults);
        texts.push(text);
        let name = operator.name.as_str().into();
        operators = match (operators, token) {
            (Some(known), Some(token)) if !twice => Some(known.and(Operator { name, token })),
            _ => None,
        };
    }
    operators
}

/// Whether what weakens an account takes two of them.
pub fn four_eyes(config: &Config) -> FourEyes {
    match &config.admin {
        Some(admin) if !admin.four_eyes => FourEyes::Off,
        Some(admin) if !admin.operators.is_empty() => FourEyes::Needed,
        _ => FourEyes::Alone,
    }
}

/// The admin interface's first token.
pub fn admin_token(config: &Config, faults: &mut Vec<Fault>) -> Option<Token> {
    let admin = config.admin.as_ref()?;
    let text = trimmed(&config.secret(&admin.token, faults)?.text);
    token(config, &admin.token, &text, faults)
}

fn trimmed(text: &str) -> Zeroizing<String> {
    Zeroizing::new(text.trim().to_owned())
}

fn span_of(secret: &SecretRef) -> Range<usize> {
    match secret {
        SecretRef::File(file) => file.span.clone(),
        SecretRef::Env { span, .. } => span.clone(),
    }
}

fn token(config: &Config, at: &SecretRef, text: &str, faults: &mut Vec<Fault>) -> Option<Token> {
    match Token::new(text) {
        Ok(token) => Some(token),
        Err(error) => {
            faults.push(
                Fault::new(&config.source, span_of(at), error.to_string())
                    .help("for example `openssl rand -hex 32`"),
            );
            None
        }
    }
}

/// Takes note of every file whose change means a reload, before it is read.
pub fn note(config: &Config, seen: &mut Seen) {
    seen.note(watched(config));
    let prices = config.prices.as_ref().and_then(config::Prices::file);
    prices.into_iter().for_each(|file| seen.note_alone(file.path.clone()));
}

/// Every file whose change means a reload.
pub fn watched(config: &Config) -> Vec<PathBuf> {
    let mut files = vec![config.source.path.clone()];
    let mut add = |file: &FileRef| files.push(file.path.clone());
    for pair in &config.listen.tls {
        add(&pair.certificate);
        add(&pair.key);
    }
    for file in [&config.geo.city, &config.geo.asn, &config.geo.lists].into_iter().flatten() {
        add(file);
    }
    config.prices.iter().filter_map(config::Prices::file).for_each(&mut add);
    for site in &config.sites {
        site.actions.iter().for_each(&mut add);
        add(&site.policy);
        site.shadow_policy.iter().for_each(&mut add);
        site.brand.iter().for_each(&mut add);
        for identity in &site.identity {
            match &identity.kind {
                IdentityKind::Jwt { keys: Keys::File(file), .. }
                | IdentityKind::ApiKeyFile { accounts: file } => add(file),
                _ => {}
            }
        }
    }
    for site in &config.sites {
        let policies = [Some(&site.policy), site.shadow_policy.as_ref()];
        files.extend(policies.into_iter().flatten().map(|policy| cases_beside(&policy.path)));
        files.extend(site.actions.iter().map(|pack| pack_cases_beside(&pack.path)));
    }
    files
}

fn prices(config: &Config, previous: Option<&Live>, faults: &mut Vec<Fault>) -> Arc<Prices> {
    let read = config.prices.as_ref().and_then(|prices| {
        let file = match &prices.from {
            PricesFrom::File(file) => file,
            PricesFrom::Ticker(settings) => {
                let previous = previous.and_then(Live::prices);
                return Some(Prices::polled(settings.clone(), prices.age_max_ms, previous));
            }
        };
        let source = config.read(file, faults)?;
        let modified = std::fs::metadata(&file.path).and_then(|it| it.modified()).ok()?;
        let since = modified.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let as_of = UnixMs(i64::try_from(since.as_millis()).unwrap_or(0));
        Prices::parse(&source, as_of, prices.age_max_ms, faults).map(Arc::new)
    });
    read.unwrap_or_default()
}

/// What is said of a policy with rules and no file of cases.
fn untried(policy: &Source, beside: &Path) -> Fault {
    let name = beside.file_name().unwrap_or_default().display();
    Fault::warning(
        policy,
        0..0,
        "no cases stand beside this policy: nothing shows that its rules say what they should",
    )
    .help(format!("write `{name}` beside it; `policies/README.md` shows how"))
}

/// `x.cases.toml` beside `x.policy.toml`.
fn cases_beside(policy: &Path) -> PathBuf {
    beside(policy, ".policy.toml", ".cases.toml")
}

/// `x.actions.cases.toml` beside `x.actions.toml`: never a file that a policy has for its cases too.
fn pack_cases_beside(pack: &Path) -> PathBuf {
    beside(pack, ".actions.toml", ".actions.cases.toml")
}

fn beside(file: &Path, ending: &str, cases: &str) -> PathBuf {
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or("");
    let stem = name.strip_suffix(ending).or(name.strip_suffix(".toml")).unwrap_or(name);
    file.with_file_name(format!("{stem}{cases}"))
}

struct Assembler<'a> {
    config: &'a Config,
    site: &'a config::Site,
    fetch: &'a Fetch,
    faults: &'a mut Vec<Fault>,
    warnings: &'a mut Vec<Fault>,
    /// Cases, of packs and of the policy.
    ran: usize,
}

impl Assembler<'_> {
    fn site(
        &mut self,
        metrics: &Metrics,
        prices: &Arc<Prices>,
        previous: Option<&Site>,
    ) -> Option<Site> {
        let packs: Vec<Source> = self
            .site
            .actions
            .iter()
            .filter_map(|file| self.config.read_text(file, self.faults))
            .collect();
        let all = packs.len() == self.site.actions.len();
        let mut actions = classify::load(&packs, self.faults).filter(|_| all);
        packs.iter().for_each(|pack| self.pack_cases(actions.as_ref(), &pack.path));
        let read = Packs { actions: actions.as_ref(), sources: &packs, all };
        let policy = self.policy_of(&read, &self.site.policy).map(|(policy, _)| policy);
        let candidate = self.site.shadow_policy.as_ref().and_then(|file| {
            let (policy, source) = self.policy_of(&read, file)?;
            Some((ShadowPolicy::new(policy), source))
        });
        if let (Some(actions), Some(policy)) = (&mut actions, &policy) {
            actions.guard(|name| policy.names(name));
        }
        let identifier = self.identifier(previous.map(|site| &site.identifier));
        let upstream = Upstream::parse(&self.site.upstream, self.site.upstream_h2);
        if let Err(error) = &upstream {
            let span = self.site.upstream_span.clone();
            self.faults.push(Fault::new(&self.config.source, span, error.to_string()));
        }
        let pages = self.pages();
        let passkeys = self.passkeys();
        let name = SiteName::new(self.site.name.clone());
        let actions = actions?;
        let candidate = candidate.map(|(policy, source)| {
            let candidate = Candidate::new(policy, &actions, metrics, &name);
            self.warn_of_unread(&candidate, &source);
            candidate
        });
        Some(Site {
            hosts: self.site.hosts.clone(),
            address: self.site.address.clone(),
            identifier: identifier?,
            actions,
            policy: policy?,
            candidate,
            lines: Lines::default(),
            upstream: upstream.ok()?,
            prices: prices.clone(),
            inject: self.site.inject,
            pages: pages?,
            passkeys: passkeys?,
            ordinary: metrics.ordinary(&name),
            name,
        })
    }

    /// The site's own look, if it has one.
    fn pages(&mut self) -> Option<Arc<Pages>> {
        let Some(brand) = &self.site.brand else { return Some(Pages::plain()) };
        let named = (&self.config.source, brand.span.clone());
        Pages::branded(&brand.path, named, self.faults).map(Arc::new)
    }

    /// Who asks passkeys, if the site has any.
    fn passkeys(&mut self) -> Option<Option<Verifier>> {
        let Some(webauthn) = &self.site.webauthn else { return Some(None) };
        let made = Verifier::new(&webauthn.party);
        let fault = |why| Fault::new(&self.config.source, webauthn.span.clone(), why);
        made.map_err(|why| self.faults.push(fault(why))).ok().map(Some)
    }

    /// What the packs take requests for, before any policy has a say.
    fn pack_cases(&mut self, actions: Option<&ActionSet>, pack: &Path) {
        let Some(cases) = self.cases(&pack_cases_beside(pack)) else { return };
        match actions {
            Some(actions) => self.ran += classify::cases::run(&cases, actions, self.faults),
            None => classify::cases::proofread(&cases, self.faults),
        }
    }

    /// The cases of a policy that cannot be used, as far as they can be checked.
    fn draft_cases(&mut self, draft: &Draft, policy: &Path) {
        if let Some(cases) = self.cases(&cases_beside(policy)) {
            self.ran += draft.proofread(&cases, self.faults);
        }
    }

    /// A file of cases, if there is one.
    fn cases(&mut self, beside: &Path) -> Option<Source> {
        if !beside.exists() {
            return None;
        }
        config::read_source(beside).map_err(|fault| self.faults.push(*fault)).ok()
    }

    /// A policy and its text; of packs with faults as much of it is checked as can be.
    fn policy_of(&mut self, packs: &Packs<'_>, file: &FileRef) -> Option<(PolicySet, Source)> {
        let source = self.config.read_text(file, self.faults)?;
        let Some(actions) = packs.actions else {
            let names = classify::names(packs.sources).filter(|_| packs.all);
            let draft = Draft::read(&source, names.as_deref(), self.faults);
            self.draft_cases(&draft, &source.path);
            return None;
        };
        let policy = self.policy(actions, packs.sources, &source)?;
        if self.site.actions.is_empty() && policy.rule_ids().next().is_some() {
            let message =
                "the site has no packs: no request is an action, so rules on actions never speak";
            let help =
                "name them in its [[site]], for example actions = [\"policies/okx.actions.toml\"]";
            let warning = Fault::warning(&self.config.source, file.span.clone(), message);
            self.warnings.push(warning.help(help));
        }
        Some((policy, source))
    }

    /// A policy, after the cases beside it have been run against it.
    fn policy(
        &mut self,
        actions: &ActionSet,
        packs: &[Source],
        source: &Source,
    ) -> Option<PolicySet> {
        let salt: Vec<&[u8]> = packs.iter().map(|pack| pack.text.as_bytes()).collect();
        let names = actions.action_names();
        let Some(policy) = policy::load(source, &names, &salt, self.faults) else {
            let draft = Draft::read(source, Some(&names), &mut Vec::new());
            self.draft_cases(&draft, &source.path);
            return None;
        };
        let config = self.config;
        self.warnings.extend(policy.doubts(
            source,
            &policy::Setting {
                countries: config.geo.city.is_some(),
                networks: config.geo.asn.is_some(),
                prices: config.prices.is_some(),
                sms: config.sms.is_some(),
                passkeys: self.site.webauthn.is_some(),
                fields: &|action| actions.fields_of(action),
            },
        ));
        let beside = cases_beside(&source.path);
        if let Some(cases) = self.cases(&beside) {
            let classify = |raw: &str| classify_raw(actions, raw);
            let run = cases::run(&cases, &policy, &classify, self.faults);
            self.ran += run.ran;
            self.warnings.extend(run.warnings(source));
        } else if !beside.exists() && policy.rule_ids().next().is_some() {
            self.warnings.push(untried(source, &beside));
        }
        Some(policy)
    }

    /// The live policy alone says what is guarded, and only of guarded actions the body is read.
    fn warn_of_unread(&mut self, candidate: &Candidate, source: &Source) {
        for action in candidate.seen_only() {
            let message = format!(
                "the live policy does not guard `{action}`: this candidate sees that it is done, and none of its fields"
            );
            let help = "rules that look at its fields speak every time, until the candidate is the live policy";
            self.warnings.push(Fault::warning(source, 0..0, message).help(help));
        }
    }

    fn identifier(&mut self, previous: Option<&Identifier>) -> Option<Identifier> {
        let before = self.faults.len();
        let mut identities = Vec::new();
        for identity in &self.site.identity {
            if let Some(kind) = self.kind(&identity.kind) {
                identities.push(IdentitySettings {
                    from: identity.from.clone(),
                    from_span: identity.from_span.clone(),
                    kind,
                });
            }
        }
        let settings = Identities {
            group: self.site.accounts.clone(),
            source: self.config.source.clone(),
            identities,
        };
        let identifier = Identifier::new(settings, self.fetch, previous, self.faults);
        identifier.filter(|_| self.faults.len() == before)
    }

    fn kind(&mut self, kind: &IdentityKind) -> Option<Kind> {
        Some(match kind {
            IdentityKind::Jwt { algorithms, keys, issuer, audience } => Kind::Jwt {
                algorithms: algorithms.clone(),
                keys: match keys {
                    Keys::File(file) => KeySource::File(self.config.read(file, self.faults)?),
                    Keys::Url(url) => KeySource::Url(url.clone()),
                },
                issuer: issuer.clone(),
                audience: audience.clone(),
            },
            IdentityKind::ApiKeyFile { accounts } => {
                Kind::ApiKeyFile { accounts: self.config.read(accounts, self.faults)? }
            }
            IdentityKind::Introspect { url, credentials, api_key } => Kind::Introspect {
                url: url.clone(),
                credentials: match credentials {
                    Some(secret) => {
                        let text = self.config.secret(secret, self.faults)?.text;
                        Some(Zeroizing::new(text.trim().to_owned()))
                    }
                    None => None,
                },
                api_key: *api_key,
            },
        })
    }
}

/// The packs of a site as far as they could be read.
struct Packs<'p> {
    /// `None` if they have faults.
    actions: Option<&'p ActionSet>,
    sources: &'p [Source],
    /// Each file could be read.
    all: bool,
}

/// What a raw request in a case would do.
fn classify_raw(actions: &ActionSet, raw: &str) -> Result<(ActionName, Vec<Fields>), String> {
    let (head, body) = rawhttp::read(raw)?;
    match actions.detect_whole(&head, &body).map_err(|refused| refused.to_string())? {
        Detected::Action(rule) => {
            let action = rule.read(&head, &body).map_err(|refused| refused.to_string())?;
            Ok((action.name, action.elements))
        }
        Detected::Ordinary | Detected::Unlisted { .. } => {
            Ok((ActionName::new("ordinary"), vec![Fields::default()]))
        }
        Detected::NotCanonical(why) => Err(why.to_owned()),
        Detected::Selected => Err("the body does not say which operation it is".to_owned()),
    }
}
