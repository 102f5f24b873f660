//! Experiment: effect of checkpoints on latency, Rollbook only.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::super::generator::{self, Load};
use super::super::result::{Aim, Row, Unit};
use super::super::server::Server;
use super::super::{Bench, PeersError};
use super::subjects;

/// Requests per second: far below a core's capacity, so that only checkpoints cause waiting.
const RATE: f64 = 4000.0;
/// Length of a run, as a multiple of the other experiments' runs, because the effect is rare.
const LONGER: f64 = 3.0;

/// Compares p99.9 of a paced load during continuous checkpoints with the same load without checkpoints.
///
/// # Errors
/// If the server or the generator fails.
pub fn checkpoint(bench: &Bench<'_>) -> Result<Vec<Row>, PeersError> {
    let options = bench.options;
    let mut server = Server::fresh(&options.rollbook, &options.dir, &options.server_cpus, &options.client_cpus)?;
    server.settings_mut().node = true;
    server.start()?;
    // A node would have a CPU or a machine of its own. Where it must share the generator's CPU, the generator has
    // priority.
    server.children().into_iter().try_for_each(|node| options.client_cpus.pin_process_behind(node))?;
    bench.step("loading")?;
    let paced = Load { connections: 20, rate: Some(RATE), seconds: options.seconds * LONGER, ..Load::default() };
    generator::run(options, &server, &Load { load: true, seconds: 0.5, ..paced })?;
    server.call(&[b"SAVE"])?;
    let (mut busy, mut quiet) = (Vec::new(), Vec::new());
    let checkpoints = AtomicU64::new(0);
    for round in 1..=options.rounds {
        bench.step(&format!("without, round {round} of {}", options.rounds))?;
        quiet.push(generator::run(options, &server, &paced)?.latency.p999);
        bench.step(&format!("with, round {round} of {}", options.rounds))?;
        busy.push(while_saving(&server, &checkpoints, || generator::run(options, &server, &paced))?.latency.p999);
    }
    let what = format!(
        "p99.9 of {RATE} SET/s beside checkpoints ({} of {} keys)",
        checkpoints.into_inner(),
        crate::bench::report::units::count(options.keys)
    );
    let names = ["with checkpoints", "without"].map(str::to_owned);
    let subjects = subjects(&names, &[busy, quiet], |micros| *micros);
    Ok(vec![bench.row(what, Unit::Micros, subjects, Some(Aim::RatioAtMost(1.2)))])
}

/// Does `work` while another thread requests checkpoints back to back and counts them.
fn while_saving<T>(
    server: &Server,
    count: &AtomicU64,
    work: impl FnOnce() -> Result<T, PeersError>,
) -> Result<T, PeersError> {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let saving = scope.spawn(|| -> Result<(), PeersError> {
            while !done.load(Ordering::Relaxed) {
                server.call(&[b"SAVE"])?;
                count.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        });
        let worked = work();
        done.store(true, Ordering::Relaxed);
        let saved =
            saving.join().unwrap_or_else(|_| Err(server.unusable("SAVE: the thread that asks has ended".to_owned())));
        let worked = worked?;
        saved.map(|()| worked)
    })
}
