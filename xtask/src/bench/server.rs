//! A server that is measured: a process with a log, ended with this.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

/// How long a server may take until it answers.
const START_MAX: Duration = Duration::from_secs(60);
const LOG_TAIL_BYTES: usize = 2000;

/// A server that runs until this is dropped.
pub(super) struct Server {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Server {
    /// Waits until it `answers`. Its log is in `folder`.
    pub(super) fn start(
        name: &'static str,
        mut command: Command,
        folder: &Path,
        answers: impl Fn() -> bool,
    ) -> Result<Self> {
        let log = folder.join("log");
        let output = File::create(&log)?;
        command
            .stdin(Stdio::null())
            .stderr(output.try_clone()?)
            .stdout(output);
        let child = command.spawn().with_context(|| format!("start {name}"))?;
        let mut server = Self { name, child, log };
        server.until(answers)?;
        Ok(server)
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The end of its log.
    pub(super) fn log(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let tail = log
            .get(log.len().saturating_sub(LOG_TAIL_BYTES)..)
            .unwrap_or_default();
        format!("{} said:\n{}", self.name, String::from_utf8_lossy(tail))
    }

    fn until(&mut self, answers: impl Fn() -> bool) -> Result<()> {
        let started = Instant::now();
        while !answers() {
            ensure!(self.child.try_wait()?.is_none(), "it ended; {}", self.log());
            ensure!(
                started.elapsed() < START_MAX,
                "it does not listen; {}",
                self.log()
            );
            sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Kamailio ends its children only when it is asked to end.
        let asked = Command::new("kill").arg(self.pid().to_string()).status();
        let patience = Instant::now();
        while asked.is_ok()
            && patience.elapsed() < Duration::from_secs(5)
            && matches!(self.child.try_wait(), Ok(None))
        {
            sleep(Duration::from_millis(20));
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
