<?php

// Rooms as groups. All clients see a room open and close; its members see who joins and leaves.

require __DIR__ . '/vendor/autoload.php';

use NoccyLabs\React\WebSocket\Group\ConnectionGroup;
use NoccyLabs\React\WebSocket\Group\GroupManager;
use NoccyLabs\React\WebSocket\WebSocketConnection;
use NoccyLabs\React\WebSocket\WebSocketMiddleware;
use Psr\Http\Message\ServerRequestInterface;
use React\Http\HttpServer;
use React\Http\Message\Response;
use React\Socket\SocketServer;

function serve(SocketServer $socket): void
{
    $clients = new SplObjectStorage();
    $rooms = [];

    $groups = new GroupManager();
    $groups->on(GroupManager::EVENT_CREATED, function (ConnectionGroup $room) use ($clients, &$rooms) {
        $rooms[$room->getName()] = $room;
        announce($clients, "{$room->getName()} is open");
        $room->on(ConnectionGroup::EVENT_JOIN, function (WebSocketConnection $member) use ($clients, $room) {
            $room->writeAll("{$clients[$member]} joins {$room->getName()}");
        });
        $room->on(ConnectionGroup::EVENT_LEAVE, function (WebSocketConnection $member) use ($clients, $room) {
            $room->writeAll("{$clients[$member]} leaves {$room->getName()}");
        });
    });
    $groups->on(GroupManager::EVENT_DESTROYED, function (ConnectionGroup $room) use ($clients, &$rooms) {
        unset($rooms[$room->getName()]);
        announce($clients, "{$room->getName()} is closed");
    });

    $websocket = new WebSocketMiddleware($groups);
    $websocket->on('connection', function (WebSocketConnection $connection) use ($clients, &$rooms) {
        $query = $connection->getRequest()->getQueryParams();
        $clients[$connection] = $query['name'] ?? 'anonymous';

        $connection->on('text', function (string $text) use ($connection, $clients, &$rooms) {
            [$command, $rest] = explode(' ', $text, 2) + [1 => ''];
            $name = $clients[$connection];
            switch ($command) {
                case 'join':
                    $connection->setGroup($rest);
                    break;
                case 'leave':
                    $connection->setGroup(null);
                    break;
                case 'say':
                    if ($room = $connection->getGroup()) {
                        $room->writeAll("$name: $rest");
                    } else {
                        $connection->write('join a room first');
                    }
                    break;
                case 'tell':
                    [$room, $rest] = explode(' ', $rest, 2) + [1 => ''];
                    if (isset($rooms[$room])) {
                        $rooms[$room]->writeAll("$name calls: $rest");
                    } else {
                        $connection->write("there is no room $room");
                    }
                    break;
                default:
                    $connection->write("unknown command: $command");
            }
        });

        $connection->on('close', function () use ($connection, $clients) {
            $connection->setGroup(null);
            unset($clients[$connection]);
        });
    });

    $router = fn (ServerRequestInterface $request) => Response::plaintext("Connect with a WebSocket\n");

    $http = new HttpServer($websocket, $router);
    $http->listen($socket);
}

function announce(SplObjectStorage $clients, string $text): void
{
    foreach ($clients as $client) {
        $client->write($text);
    }
}

$socket = new SocketServer($argv[1] ?? '127.0.0.1:8080');
echo "Listening on {$socket->getAddress()}\n";
serve($socket);
