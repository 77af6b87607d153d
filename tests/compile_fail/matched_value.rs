use serde_json::Value;

fn dispatch(value: Value) {
    match value["type"] {
        "say" => println!("{}", value["text"]),
        _ => {}
    }
}

fn main() {}
