use std::str::FromStr;

/// The command line of a server: `PORT [--name value]…`.
pub struct Arguments {
    port: u16,
    options: Vec<(String, String)>,
}

impl Arguments {
    /// The arguments of this process. Only options in `names` are allowed. Any other argument ends
    /// the process with a usage line.
    pub fn of(names: &[&str]) -> Arguments {
        Arguments::read(std::env::args().skip(1), names).unwrap_or_else(|| {
            let options: String = names.iter().map(|name| format!(" [--{name} …]")).collect();
            eprintln!("usage: {} PORT{options}", std::env::args().next().unwrap_or_default());
            std::process::exit(2)
        })
    }

    fn read(mut words: impl Iterator<Item = String>, names: &[&str]) -> Option<Arguments> {
        let port = words.next()?.parse().ok()?;
        let mut options = Vec::new();
        while let Some(word) = words.next() {
            let name = word.strip_prefix("--").filter(|name| names.contains(name))?;
            options.push((name.to_owned(), words.next()?));
        }
        Some(Arguments { port, options })
    }

    /// Where to listen: on 127.0.0.1, whatever the port.
    pub fn address(&self) -> std::net::SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    /// An option as it was written.
    pub fn word(&self, name: &str) -> Option<&str> {
        self.options.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// An option that is a number, or something else that can be read from a word.
    pub fn value<T: FromStr>(&self, name: &str, default: T) -> T {
        self.word(name).map_or(default, |word| {
            word.parse().unwrap_or_else(|_| {
                eprintln!("--{name} cannot be {word}");
                std::process::exit(2)
            })
        })
    }

    /// `--mode broadcast`; without it servers echo.
    pub fn is_broadcast(&self) -> bool {
        self.word("mode") == Some("broadcast")
    }
}
