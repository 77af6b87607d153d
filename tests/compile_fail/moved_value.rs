use serde_json::Value;

fn name(value: Value) {
    let _name = value["name"];
}

fn main() {}
