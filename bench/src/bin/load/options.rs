use crate::Result;
use std::cell::RefCell;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

/// The words after the mode: `--name value`, each at most once.
pub struct Options {
    given: Vec<(String, String)>,
    used: RefCell<Vec<String>>,
}

impl Options {
    pub fn read(mut words: impl Iterator<Item = String>) -> Result<Options> {
        let mut given = Vec::new();
        while let Some(word) = words.next() {
            let name = word.strip_prefix("--").ok_or_else(|| format!("{word} is no option"))?;
            let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
            given.push((name.to_owned(), value));
        }
        Ok(Options { given, used: RefCell::default() })
    }

    pub fn word(&self, name: &str) -> Option<String> {
        self.used.borrow_mut().push(name.to_owned());
        self.given.iter().find(|(given, _)| given == name).map(|(_, value)| value.clone())
    }

    pub fn value<T: FromStr>(&self, name: &str) -> Result<Option<T>> {
        let Some(word) = self.word(name) else { return Ok(None) };
        Ok(Some(word.parse().map_err(|_| format!("--{name} cannot be {word}"))?))
    }

    pub fn count(&self, name: &str, default: usize) -> Result<usize> {
        Ok(self.value(name)?.unwrap_or(default))
    }

    /// At most ten minutes: no run is without an end.
    pub fn seconds(&self, name: &str, default: f64) -> Result<Duration> {
        let seconds: f64 = self.value(name)?.unwrap_or(default);
        Ok(Duration::try_from_secs_f64(seconds)?.min(Duration::from_secs(600)))
    }

    pub fn address(&self) -> Result<SocketAddr> {
        let port: u16 = self.value("port")?.ok_or("--port is missing")?;
        Ok(([127, 0, 0, 1], port).into())
    }

    /// Returns an error if the command line has an option that no code has read.
    pub fn all_used(&self) -> Result<()> {
        self.word("row");
        let used = self.used.borrow();
        match self.given.iter().find(|(name, _)| !used.contains(name)) {
            Some((name, _)) => Err(format!("this mode has no --{name}").into()),
            None => Ok(()),
        }
    }
}
