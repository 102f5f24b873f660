//! Named places where a test makes the process die, to check what the next start makes of the files.

/// Aborts the process if the environment variable `ROLLBOOK_FAILPOINT` is `name`, or `name:n` at the `n`-th time. Does
/// nothing in a release build.
#[inline]
pub fn reach(name: &str) {
    if cfg!(debug_assertions) {
        reach_in_debug(name);
    }
}

fn reach_in_debug(name: &str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
    static WANTED: OnceLock<Option<(String, u32)>> = OnceLock::new();
    static TIMES: AtomicU32 = AtomicU32::new(0);
    let wanted = WANTED.get_or_init(|| {
        let value = std::env::var("ROLLBOOK_FAILPOINT").ok()?;
        Some(match value.split_once(':') {
            Some((name, times)) => (name.to_owned(), times.parse().unwrap_or(1)),
            None => (value, 1),
        })
    });
    if let Some((wanted, times)) = wanted
        && wanted == name
        && TIMES.fetch_add(1, Relaxed) + 1 == *times
    {
        std::process::abort();
    }
}
