use react_websocket::Loop;

fn main() {
    Loop::run();
}
