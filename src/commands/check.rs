//! `stepgate check`: every fault of every file in one run.
//!
//! Never starts anything. Invariant: it reads what `serve` would read, through the same function.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use crate::assemble;
use crate::config;
use crate::fetch::Fetch;
use crate::listen::certs::Certificates;
use crate::messenger;
use crate::metrics::Metrics;
use crate::serve::render;
use crate::world::{Clock, SystemClock};

/// Checks, prints, and exits with 1 if there is any fault.
///
/// # Errors
/// If the check itself cannot run.
pub fn run(path: &Path) -> anyhow::Result<ExitCode> {
    let mut faults = Vec::new();
    let Some(config) = config::gather_faults(path, &mut faults) else {
        return Ok(report(&faults));
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let fetch = Fetch::new(None, runtime.handle().clone())?;
    let clock = Arc::new(SystemClock);
    assemble::master_key(&config, &mut faults);
    assemble::locator(&config, clock.clone(), &mut faults);
    assemble::admin_token(&config, &mut faults);
    config.redis_settings(&mut faults);
    messenger::build(&config, &fetch, &(clock as Arc<dyn Clock>), &mut faults);
    faults.extend(Certificates::load(&assemble::pairs(&config)).err().unwrap_or_default());
    let assembled = assemble::assemble(&config, &fetch, &Metrics::default(), None);
    match assembled {
        Ok(assembled) if faults.is_empty() => {
            if !assembled.warnings.is_empty() {
                say!("{}\n", render(&assembled.warnings));
            }
            let (sites, cases) = (config.sites.len(), assembled.cases);
            say!("{}: fine ({sites} site(s), {cases} case(s))", path.display());
            Ok(ExitCode::SUCCESS)
        }
        assembled => {
            faults.extend(assembled.err().unwrap_or_default());
            Ok(report(&faults))
        }
    }
}

fn report(faults: &[crate::fault::Fault]) -> ExitCode {
    say!("{}", render(faults));
    say!("\n{} fault(s)", faults.len());
    ExitCode::FAILURE
}
