use std::fmt;

/// The result of a run, as a line of JSON.
#[derive(Default)]
pub struct Report {
    fields: Vec<String>,
}

impl Report {
    /// For words without line breaks.
    pub fn text(mut self, name: &str, value: &str) -> Report {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"");
        self.fields.push(format!("\"{name}\": \"{value}\""));
        self
    }

    pub fn number(mut self, name: &str, value: impl Into<f64>) -> Report {
        let value = value.into();
        // JSON knows no NaN and no infinity.
        let value = if value.is_finite() { format!("{value}") } else { "null".to_owned() };
        self.fields.push(format!("\"{name}\": {value}"));
        self
    }

    pub fn count(self, name: &str, value: usize) -> Report {
        self.number(name, value as f64)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{}}}", self.fields.join(", "))
    }
}
