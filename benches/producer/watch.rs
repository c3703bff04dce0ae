//! What a stretch of a process costs: CPU of all its threads, wall time, peak memory (Linux).

use super::Fallible;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::time::Instant;

/// A stretch that goes on.
pub(crate) struct Watch {
    threads: BTreeMap<OsString, f64>,
    wall: Instant,
}

/// What a stretch took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Used {
    /// Seconds of all threads.
    pub(crate) cpu: f64,
    pub(crate) wall: f64,
    /// Of the process, from its start.
    pub(crate) peak_mib: f64,
}

impl Watch {
    pub(crate) fn start() -> Fallible<Self> {
        Ok(Self { threads: cpu_seconds()?, wall: Instant::now() })
    }

    pub(crate) fn stop(self) -> Fallible<Used> {
        let threads = cpu_seconds()?;
        if self.threads.keys().any(|thread| !threads.contains_key(thread)) {
            return Err("a thread has ended, and what it took is lost: let it live".into());
        }
        Ok(Used {
            cpu: threads.values().sum::<f64>() - self.threads.values().sum::<f64>(),
            wall: self.wall.elapsed().as_secs_f64(),
            peak_mib: peak_mib()?,
        })
    }
}

/// What each thread of this process has run, to the nanosecond.
fn cpu_seconds() -> Fallible<BTreeMap<OsString, f64>> {
    let mut threads = BTreeMap::new();
    for task in fs::read_dir("/proc/self/task")? {
        let task = task?;
        let text = fs::read_to_string(task.path().join("schedstat"))?;
        let nanos = text.split(' ').next().unwrap_or_default().parse::<f64>()?;
        threads.insert(task.file_name(), nanos / 1e9);
    }
    Ok(threads)
}

fn peak_mib() -> Fallible<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).ok_or("no VmHWM")?;
    let kib: f64 = line.split_whitespace().nth(1).ok_or("no size")?.parse()?;
    Ok(kib / 1024.0)
}
