/// A request of the load generator to a broadcasting server, as a text message `COUNT SIZE`. The
/// server sends `COUNT` messages of `SIZE` bytes to every connection at once.
#[derive(Clone, Copy, Debug)]
pub struct Trigger {
    /// How many messages each connection gets.
    pub count: usize,
    /// Bytes in each of them.
    pub size: usize,
}

impl Trigger {
    /// `None` if the text is something else.
    pub fn read(text: &str) -> Option<Trigger> {
        let (count, size) = text.split_once(' ')?;
        Some(Trigger { count: count.parse().ok()?, size: size.parse().ok()? })
    }

    /// The text of each message.
    pub fn payload(&self) -> String {
        "x".repeat(self.size)
    }
}
