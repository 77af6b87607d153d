use react_websocket::ServerRequest;

fn room(request: ServerRequest) {
    let _room = request.query_params()["room"];
}

fn main() {}
