//! What a stretch of a process costs: CPU of all its threads, wall time, peak memory (Linux).

use super::Fallible;
use std::fs;
use std::time::Instant;

/// A stretch that goes on.
pub(crate) struct Watch {
    cpu: f64,
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
        Ok(Self { cpu: cpu_seconds()?, wall: Instant::now() })
    }

    pub(crate) fn stop(self) -> Fallible<Used> {
        Ok(Used {
            cpu: cpu_seconds()? - self.cpu,
            wall: self.wall.elapsed().as_secs_f64(),
            peak_mib: peak_mib()?,
        })
    }
}

/// What all threads of this process have run, to the nanosecond.
fn cpu_seconds() -> Fallible<f64> {
    let mut nanos = 0.0;
    for task in fs::read_dir("/proc/self/task")? {
        let text = fs::read_to_string(task?.path().join("schedstat"))?;
        nanos += text.split(' ').next().unwrap_or_default().parse::<f64>()?;
    }
    Ok(nanos / 1e9)
}

fn peak_mib() -> Fallible<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).ok_or("no VmHWM")?;
    let kib: f64 = line.split_whitespace().nth(1).ok_or("no size")?.parse()?;
    Ok(kib / 1024.0)
}
