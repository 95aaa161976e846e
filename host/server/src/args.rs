//! The command line.

use std::{ffi::OsString, path::PathBuf};

use thiserror::Error;

/// What `--help` prints.
pub const HELP: &str = "\
hookswitch: a WebRTC-to-SIP proxy programmed with WebAssembly policies

  hookswitch run [FILE] [--ready-file PATH]   serve; without FILE with a default for everything
  hookswitch check FILE                       say all that is wrong with a configuration and the files that it names
  hookswitch --help | --version

  --ready-file PATH   write the bound addresses there as JSON, once everything serves
";

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Serve.
    Run {
        /// The configuration; defaults without one.
        file: Option<PathBuf>,
        /// Where to write the bound addresses.
        ready_file: Option<PathBuf>,
    },
    /// Check a configuration.
    Check {
        /// The configuration.
        file: PathBuf,
    },
    /// Print [`HELP`].
    Help,
    /// Print the version.
    Version,
}

/// A command line that says nothing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ArgsError {
    /// Nothing at all, or not what can be done.
    #[error("say what to do: run or check (see --help)")]
    NoCommand,
    /// Something is missing.
    #[error("{0} needs a path (see --help)")]
    NoPath(&'static str),
    /// Something is too much.
    #[error("`{0}` is not understood (see --help)")]
    Unknown(String),
}

/// Reads the arguments, without the program's name.
///
/// # Errors
/// [`ArgsError`].
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command, ArgsError> {
    let mut args = args.into_iter();
    let command = args.next().ok_or(ArgsError::NoCommand)?;
    match command.to_str() {
        Some("run") => run(args),
        Some("check") => {
            let file = args.next().ok_or(ArgsError::NoPath("check"))?.into();
            nothing_more(args)?;
            Ok(Command::Check { file })
        }
        Some("--help" | "-h" | "help") => Ok(Command::Help),
        Some("--version" | "-V") => Ok(Command::Version),
        Some(_) | None => Err(ArgsError::NoCommand),
    }
}

fn run(mut args: impl Iterator<Item = OsString>) -> Result<Command, ArgsError> {
    let (mut file, mut ready_file) = (None, None);
    while let Some(arg) = args.next() {
        if arg == "--ready-file" {
            let path = args.next().ok_or(ArgsError::NoPath("--ready-file"))?;
            ready_file = Some(path.into());
        } else if file.is_none() && !arg.as_encoded_bytes().starts_with(b"-") {
            file = Some(arg.into());
        } else {
            return Err(ArgsError::Unknown(arg.to_string_lossy().into_owned()));
        }
    }
    Ok(Command::Run { file, ready_file })
}

fn nothing_more(mut args: impl Iterator<Item = OsString>) -> Result<(), ArgsError> {
    args.next().map_or(Ok(()), |arg| {
        Err(ArgsError::Unknown(arg.to_string_lossy().into_owned()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: Result<Command, ArgsError>) {
        assert_eq!(parse(line.split_whitespace().map(OsString::from)), expected);
    }

    #[test]
    fn command_lines() {
        let run = |file: Option<&str>, ready: Option<&str>| {
            Ok(Command::Run {
                file: file.map(PathBuf::from),
                ready_file: ready.map(PathBuf::from),
            })
        };
        check("run", run(None, None));
        check("run a.toml --ready-file r", run(Some("a.toml"), Some("r")));
        check("run --ready-file r", run(None, Some("r")));
        check(
            "check a.toml",
            Ok(Command::Check {
                file: "a.toml".into(),
            }),
        );
        check("--version", Ok(Command::Version));
        check("", Err(ArgsError::NoCommand));
        check("serve", Err(ArgsError::NoCommand));
        check("check", Err(ArgsError::NoPath("check")));
        check("run --ready-file", Err(ArgsError::NoPath("--ready-file")));
        check("run --fast", Err(ArgsError::Unknown("--fast".into())));
        check("run a b", Err(ArgsError::Unknown("b".into())));
    }
}
