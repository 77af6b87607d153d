<?php

// Chat over a set of connections. Each message goes to all clients except its sender.

require __DIR__ . '/vendor/autoload.php';

use NoccyLabs\React\WebSocket\WebSocketConnection;
use NoccyLabs\React\WebSocket\WebSocketMiddleware;
use Psr\Http\Message\ServerRequestInterface;
use React\Http\HttpServer;
use React\Http\Message\Response;
use React\Socket\SocketServer;

function serve(SocketServer $socket): void
{
    // The clients and their names.
    $clients = new SplObjectStorage();

    $websocket = new WebSocketMiddleware();
    $websocket->on('connection', function (WebSocketConnection $connection) use ($clients) {
        $query = $connection->getRequest()->getQueryParams();
        $name = $query['name'] ?? '';
        if ($name === '' || in_array($name, names($clients), true)) {
            $connection->write("The name \"$name\" cannot be used");
            $connection->close();
            return;
        }
        broadcast($clients, $connection, "$name joined");
        $clients[$connection] = $name;
        $connection->write('Here: ' . implode(', ', names($clients)));

        $connection->on('text', function (string $text) use ($connection, $clients, $name) {
            broadcast($clients, $connection, "$name: $text");
        });

        $connection->on('close', function () use ($connection, $clients, $name) {
            unset($clients[$connection]);
            broadcast($clients, $connection, "$name left");
        });
    });

    $router = fn (ServerRequestInterface $request) => Response::plaintext("Connect with a WebSocket\n");

    $http = new HttpServer($websocket, $router);
    $http->listen($socket);
}

function broadcast(SplObjectStorage $clients, WebSocketConnection $sender, string $text): void
{
    foreach ($clients as $client) {
        if ($client !== $sender) {
            $client->write($text);
        }
    }
}

function names(SplObjectStorage $clients): array
{
    $names = [];
    foreach ($clients as $client) {
        $names[] = $clients[$client];
    }
    sort($names);
    return $names;
}

$socket = new SocketServer($argv[1] ?? '127.0.0.1:8080');
echo "Listening on {$socket->getAddress()}\n";
serve($socket);
