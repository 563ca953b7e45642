//! The command line: what each command is called and what it exits with.
//!
//! Never does the work itself. Exit codes: 0 fine, 1 faults found or refused, 2 wrong usage.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use stepgate::commands::{self, check::Format, operate::Operator, replay::Wanted, suspend};

/// Account-protection gateway: asks the owner for a code, for exactly that action, before a sensitive request passes.
#[derive(Parser)]
#[command(name = "stepgate", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Args)]
struct Configured {
    /// The configuration file.
    #[arg(short, long, value_name = "FILE", default_value = "stepgate.toml", global = true)]
    config: PathBuf,
}

#[derive(Args)]
struct Asking {
    #[command(flatten)]
    at: Configured,
    /// With the token of this operator ([[admin.operator]]); else of STEPGATE_OPERATOR, else with that of [admin].
    #[arg(long, value_name = "NAME", global = true)]
    operator: Option<String>,
}

impl Asking {
    fn operator(&self) -> anyhow::Result<Operator> {
        Operator::named(&self.at.config, self.operator.as_deref())
    }
}

#[derive(Subcommand)]
enum Command {
    /// Run the gateway. SIGHUP and changed files reload, SIGTERM drains.
    Serve(Configured),
    /// Check config, packs, policies, cases, keys and certificates: every fault at once.
    ///
    /// Reads what `serve` would read and starts nothing. Exit codes: 0 all is fine (warnings are allowed), 1 there are
    /// faults (with --strict: or warnings), 2 wrong usage.
    Check {
        #[command(flatten)]
        at: Configured,
        /// For whom the faults are written.
        #[arg(long, value_enum, default_value_t)]
        format: Format,
        /// The same as `--format json`.
        #[arg(long, conflicts_with = "format")]
        json: bool,
        /// Let warnings count as faults.
        #[arg(long)]
        strict: bool,
    },
    /// Try everything the gateway depends on (store, GeoIP, clock, SMS, upstream, certificate) and say what is wrong.
    ///
    /// Changes nothing, and may run beside the gateway. Run it as the gateway's user: permissions are tried as they are.
    Doctor {
        #[command(flatten)]
        at: Configured,
        #[arg(long)]
        json: bool,
    },
    /// Say what the gateway would decide about one raw HTTP request, and why; or what it recorded of a real one.
    Explain {
        #[command(flatten)]
        at: Configured,
        #[command(flatten)]
        question: commands::explain::Question,
    },
    /// Everything that a rule may look at: type, unit, meaning, when absent, when unreadable.
    Facts {
        #[arg(long)]
        json: bool,
        /// As the page `policies/facts.md`.
        #[arg(long, conflicts_with = "json")]
        markdown: bool,
    },
    /// Decide recorded traffic again under another policy: who would be asked, held, denied, and who no longer.
    ///
    /// Facts come from the log; nothing is asked of a running gateway. Without `--policy` the site's own policy is
    /// replayed, under which its own records must not differ.
    Replay {
        #[command(flatten)]
        at: Configured,
        /// Audit logs, the oldest first; `-` for standard input.
        #[arg(long, value_name = "FILE", num_args = 1.., required = true)]
        audit: Vec<PathBuf>,
        /// The policy that is tried.
        #[arg(long, value_name = "FILE")]
        policy: Option<PathBuf>,
        /// Whose traffic, if there are several sites.
        #[arg(long, value_name = "NAME")]
        site: Option<String>,
        /// Also write the report as one HTML page with plots.
        #[arg(long, value_name = "FILE")]
        html: Option<PathBuf>,
        #[arg(long)]
        json: bool,
        /// Only records from this time on: a day, or an RFC 3339 time.
        #[arg(long, value_name = "TIME")]
        since: Option<String>,
        /// Only records before this time.
        #[arg(long, value_name = "TIME")]
        until: Option<String>,
        /// Look country, city and network of each request up again in today's databases and lists.
        #[arg(long)]
        recompute: bool,
    },
    /// Print the JSON Schema of one kind of file, for editors.
    Schema { kind: commands::schema::Kind },
    /// Enrolled factors of accounts, through the running gateway's admin interface.
    Factor {
        #[command(flatten)]
        at: Asking,
        #[command(subcommand)]
        what: Factor,
    },
    /// One account, through the running gateway's admin interface.
    Account {
        #[command(flatten)]
        at: Asking,
        #[command(subcommand)]
        what: Account,
    },
    /// Text messages, through the running gateway's admin interface.
    Sms {
        #[command(flatten)]
        at: Configured,
        #[command(subcommand)]
        what: Sms,
    },
    /// Close an action for a while, on every gateway at once; everything else goes on.
    ///
    /// Actions are named as policies name them, which is how a service class is spelt: `withdrawal`, `order`,
    /// `address_book.*`, `*` for all actions and for writes that no action names. What is not named goes on, so that
    /// orders can stop while `cancel` does not. Who only looks is never stopped.
    Suspend {
        #[command(flatten)]
        at: Asking,
        #[command(flatten)]
        order: suspend::Order,
    },
    /// Let go on what is suspended: by its id, or by the action as it was suspended.
    Resume {
        #[command(flatten)]
        at: Asking,
        which: String,
        /// Only on this site.
        #[arg(long, value_name = "NAME")]
        site: Option<String>,
    },
    /// What the running gateway says of itself.
    Status {
        #[command(flatten)]
        at: Configured,
        #[arg(long)]
        json: bool,
    },
    /// Writes seen in traffic that no action names, from the running gateway or from audit logs.
    Routes {
        #[command(flatten)]
        at: Configured,
        /// Read these logs and ask no gateway.
        #[arg(long, value_name = "FILE", num_args = 1..)]
        audit: Vec<PathBuf>,
        #[arg(long)]
        json: bool,
    },
    /// Write everything the store keeps into an encrypted file; a running gateway goes on meanwhile.
    Backup {
        #[command(flatten)]
        at: Configured,
        /// Write nothing: say whether this backup is whole, and what is in it.
        #[arg(long)]
        verify: bool,
        file: PathBuf,
    },
    /// Put a backup into an empty store. The gateway of an embedded store has to be stopped.
    Restore {
        #[command(flatten)]
        at: Configured,
        /// Also into a store that is not empty: what the backup says takes the place of what is there.
        #[arg(long)]
        replace: bool,
        file: PathBuf,
    },
    /// The audit log.
    Audit {
        #[command(subcommand)]
        what: Audit,
    },
}

#[derive(Subcommand)]
enum Factor {
    /// Enrol from a file of JSON lines: {"account":"alice","otpauth":"otpauth://…"} or {"account":"bob","phone":"+49…"}.
    Import { file: PathBuf },
    /// List an account's factors.
    List { account: String },
    /// Remove one factor of an account, once a second operator has approved it.
    Reset {
        account: String,
        /// totp, sms, webauthn, mail or recovery: all that the account has of this kind.
        factor: String,
    },
    /// List what waits for a second operator.
    Pending,
    /// Carry out what another operator asked for.
    Approve { id: String },
    /// Refuse what an operator asked for.
    Refuse { id: String },
}

#[derive(Subcommand)]
enum Account {
    Show { account: String },
    Freeze { account: String },
    Thaw { account: String },
}

#[derive(Subcommand)]
enum Sms {
    /// Send to a country (+49) or for a range (203.0.113.0/24) again that was stopped because too few codes came back.
    Lift { subject: String },
}

#[derive(Subcommand)]
enum Audit {
    /// Prove the chain whole, or name the first break.
    Verify {
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// A JWKS file with the keys that may have signed; without it the keys found in the log are named.
        #[arg(long, value_name = "FILE")]
        jwks: Option<PathBuf>,
    },
}

/// A request's life is many small pieces of memory, on one thread.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    stepgate::install_crypto();
    let outcome = match Cli::parse().command {
        Command::Serve(at) => commands::serve(&at.config),
        Command::Check { at, format, json, strict } => {
            commands::check::run(&at.config, if json { Format::Json } else { format }, strict)
        }
        Command::Doctor { at, json } => commands::doctor::run(&at.config, json),
        Command::Explain { at, question } => commands::explain::run(&at.config, &question),
        Command::Schema { kind } => commands::schema::run(kind),
        Command::Facts { json, markdown } => commands::facts::run(json, markdown),
        Command::Replay { at, audit, policy, site, html, json, since, until, recompute } => {
            let wanted = Wanted { logs: audit, policy, site, html, json, since, until, recompute };
            commands::replay::run(&at.config, &wanted)
        }
        Command::Factor { at, what } => at.operator().and_then(|op| match what {
            Factor::Import { file } => op.import(&file),
            Factor::List { account } => op.factors(&account),
            Factor::Reset { account, factor } => op.reset(&account, &factor),
            Factor::Pending => op.requests(),
            Factor::Approve { id } => op.approve(&id),
            Factor::Refuse { id } => op.refuse(&id),
        }),
        Command::Account { at, what } => at.operator().and_then(|op| match what {
            Account::Show { account } => op.show(&account),
            Account::Freeze { account } => op.freeze(&account),
            Account::Thaw { account } => op.thaw(&account),
        }),
        Command::Sms { at, what: Sms::Lift { subject } } => {
            Operator::at(&at.config).and_then(|op| op.lift_sms_stop(&subject))
        }
        Command::Suspend { at, order } => {
            at.operator().and_then(|op| suspend::suspend(&op, &order))
        }
        Command::Resume { at, which, site } => {
            at.operator().and_then(|op| suspend::resume(&op, &which, site.as_deref()))
        }
        Command::Status { at, json } => Operator::at(&at.config).and_then(|op| op.status(json)),
        Command::Routes { at, audit, json } => commands::routes::run(&at.config, &audit, json),
        Command::Backup { at, verify: false, file } => commands::backup::take(&at.config, &file),
        Command::Backup { at, verify: true, file } => commands::backup::verify(&at.config, &file),
        Command::Restore { at, replace, file } => {
            commands::restore::run(&at.config, &file, replace)
        }
        Command::Audit { what: Audit::Verify { files, jwks } } => {
            commands::verify(&files, jwks.as_deref())
        }
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("stepgate: {error:#}");
            ExitCode::FAILURE
        }
    }
}
