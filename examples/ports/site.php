<?php

// A site as a chain of middlewares: static files, a login, two WebSocket endpoints, and a router.

require __DIR__ . '/vendor/autoload.php';

use NoccyLabs\React\WebSocket\Group\GroupManager;
use NoccyLabs\React\WebSocket\WebSocketConnection;
use NoccyLabs\React\WebSocket\WebSocketMiddleware;
use Psr\Http\Message\ResponseInterface;
use Psr\Http\Message\ServerRequestInterface;
use React\Http\HttpServer;
use React\Http\Message\Response;
use React\Socket\SocketServer;

const ROOT = __DIR__ . '/public';
// A real site keeps hashes of its passwords, in a database.
const PASSWORDS = [['ann', 'apple'], ['ben', 'berry']];

function serve(SocketServer $socket): void
{
    // The users who are logged in, by the token in their cookie.
    $sessions = new ArrayObject();

    $files = function (ServerRequestInterface $request, callable $next) {
        return file_response($request) ?? $next($request);
    };

    $login = function (ServerRequestInterface $request, callable $next) use ($sessions) {
        $token = $request->getCookieParams()['session'] ?? '';
        if (isset($sessions[$token])) {
            return $next($request->withAttribute('user', $sessions[$token]));
        }
        return $next($request);
    };

    $echo = new WebSocketMiddleware();
    $echo->on('connection', function (WebSocketConnection $connection) {
        $connection->on('text', fn (string $text) => $connection->write($text));
    });

    $members = new WebSocketMiddleware(new GroupManager());
    $members->on('connection', function (WebSocketConnection $connection) {
        $user = $connection->getRequest()->getAttribute('user');
        if ($user === null) {
            $connection->close();
            return;
        }
        $connection->on('text', function (string $text) use ($connection, $user) {
            $connection->getGroup()->writeAll("$user: $text");
        });
        $connection->setGroup('members');
    });

    $router = function (ServerRequestInterface $request) use ($sessions) {
        $user = $request->getAttribute('user');
        switch ($request->getMethod() . ' ' . $request->getUri()->getPath()) {
            case 'POST /login':
                $form = $request->getParsedBody();
                $name = $form['name'] ?? '';
                $password = $form['password'] ?? '';
                if (!in_array([$name, $password], PASSWORDS, true)) {
                    return Response::plaintext("Wrong name or password\n")->withStatus(403);
                }
                $token = bin2hex(random_bytes(16));
                $sessions[$token] = $name;
                // With TLS the cookie also needs `Secure`.
                $cookie = "session=$token; Path=/; HttpOnly; SameSite=Strict";
                return new Response(303, ['Location' => '/', 'Set-Cookie' => $cookie]);
            case 'POST /logout':
                unset($sessions[$request->getCookieParams()['session'] ?? '']);
                return new Response(303, ['Location' => '/']);
            case 'GET /user':
                if ($user === null) {
                    return Response::plaintext("Log in first\n")->withStatus(401);
                }
                return Response::plaintext("$user\n");
            default:
                return Response::plaintext("Not found\n")->withStatus(404);
        }
    };

    $http = new HttpServer($files, $login, at('/echo', $echo), at('/members', $members), $router);
    $http->on('error', fn (Exception $error) => fwrite(STDERR, "{$error->getMessage()}\n"));
    $http->listen($socket);
}

/** Serves a path by a WebSocket endpoint. */
function at(string $path, WebSocketMiddleware $websocket): callable
{
    return function (ServerRequestInterface $request, callable $next) use ($path, $websocket) {
        return $request->getUri()->getPath() === $path ? $websocket($request, $next) : $next($request);
    };
}

/** The response with a static file, or null if there is no such file. */
function file_response(ServerRequestInterface $request): ?ResponseInterface
{
    if (!in_array($request->getMethod(), ['GET', 'HEAD'], true)) {
        return null;
    }
    $path = $request->getUri()->getPath() === '/' ? '/index.html' : $request->getUri()->getPath();
    $file = realpath(ROOT . $path);
    if ($file === false || !is_file($file) || !str_starts_with($file, realpath(ROOT) . '/')) {
        return null;
    }
    $tag = sprintf('"%x-%x"', filemtime($file), filesize($file));
    if ($request->getHeaderLine('If-None-Match') === $tag) {
        return new Response(304, ['ETag' => $tag]);
    }
    $type = match (pathinfo($file, PATHINFO_EXTENSION)) {
        'html' => 'text/html; charset=utf-8',
        'css' => 'text/css; charset=utf-8',
        'js' => 'text/javascript; charset=utf-8',
        default => 'application/octet-stream',
    };
    return new Response(200, ['Content-Type' => $type, 'ETag' => $tag], file_get_contents($file));
}

$socket = new SocketServer($argv[1] ?? '127.0.0.1:8080');
echo "Listening on {$socket->getAddress()}\n";
serve($socket);
