use react_websocket::ServerRequest;

fn room(request: ServerRequest) {
    let room = request.query_params().get("room").unwrap_or("lobby");
    println!("{room}");
}

fn main() {}
