//! One Chromium for all tests, driven line by line through `driver.mjs`.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::Mutex,
};

use serde_json::Value;

use crate::{here, made};

/// Chromium and the process that drives it. Ends with its standard input, so with the test.
pub struct Browser {
    pipe: Mutex<Pipe>,
}

struct Pipe {
    _driver: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Browser {
    /// Starts it; takes some seconds.
    #[must_use]
    pub fn start() -> Self {
        made(here().join("node_modules"));
        let mut driver = Command::new("node")
            .arg("driver.mjs")
            .current_dir(here())
            .env("CHROMIUM", "/usr/bin/chromium")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node starts");
        let requests = driver.stdin.take().expect("piped");
        let answers = BufReader::new(driver.stdout.take().expect("piped"));
        let mut pipe = Pipe {
            _driver: driver,
            requests,
            answers,
        };
        pipe.answer().expect("Chromium starts");
        Self {
            pipe: Mutex::new(pipe),
        }
    }

    /// Asks the driver; `Err` is what the page or the driver says.
    pub(crate) fn ask(&self, request: &Value) -> Result<Value, String> {
        let mut pipe = self
            .pipe
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        writeln!(pipe.requests, "{request}").expect("the driver reads");
        pipe.answer()
    }
}

impl Pipe {
    fn answer(&mut self) -> Result<Value, String> {
        let mut line = String::new();
        self.answers
            .read_line(&mut line)
            .expect("the driver writes");
        let answer: Value =
            serde_json::from_str(&line).unwrap_or_else(|_| panic!("the driver ended: {line:?}"));
        match answer.get("error") {
            Some(error) => Err(error.as_str().unwrap_or_default().to_owned()),
            None => Ok(answer["ok"].clone()),
        }
    }
}
