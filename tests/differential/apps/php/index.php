<?php
// The exchange as a PHP front controller behind nginx and PHP-FPM; the log's path is in LOG.
//
// As permissive as people make them: the path decoded and without slashes at its end, with or without `index.php` before
// it, or taken from the rewriting server's header; `_method` and the override headers; query, form and JSON together,
// whatever the content type says. Never asks for anything; it writes down what it executed.

$path = $_SERVER['HTTP_X_ORIGINAL_URL'] ?? $_SERVER['HTTP_X_REWRITE_URL'] ?? $_SERVER['REQUEST_URI'];
$path = preg_replace('~^[a-z]+://[^/]*~i', '', $path);
$path = rawurldecode(explode('?', $path, 2)[0]);
$path = preg_replace('~^/index\.php~', '', $path);
$path = '/' . trim($path, '/');

$method = strtoupper($_SERVER['REQUEST_METHOD']);
$given = $_REQUEST;
$json = json_decode(file_get_contents('php://input'), true);
if (is_array($json)) {
    $given = $json + $given;
}
if ($method === 'POST') {
    $other = $_SERVER['HTTP_X_HTTP_METHOD_OVERRIDE'] ?? $_REQUEST['_method'] ?? $json['_method'] ?? '';
    $method = is_string($other) && $other !== '' ? strtoupper($other) : $method;
}

$routes = [
    '~^POST /api/v5/asset/withdrawal$~' => 'withdrawal',
    '~^POST /api/v5/asset/withdrawal-form$~' => 'withdrawal',
    '~^POST /api/v5/asset/withdrawal-query$~' => 'withdrawal',
    '~^(GET|HEAD) /api/v5/asset/withdrawal-get$~' => 'withdrawal',
    '~^PUT /api/v5/asset/withdrawal-put$~' => 'withdrawal',
    '~^POST /api/v5/asset/[^/]+/withdrawal-to$~' => 'withdrawal',
    '~^GET /api/v5/asset/balances$~' => 'neighbour',
    '~^POST /api/v5/asset/deposit-note$~' => 'neighbour',
    '~^(POST|PUT) /api/v5/trade/order$~' => 'neighbour',
    '~^GET /api/v5/market/ticker$~' => 'neighbour',
];

header('x-app: php');
foreach ($routes as $pattern => $what) {
    if (!preg_match($pattern, "$method $path")) {
        continue;
    }
    if ($what === 'withdrawal' && (!isset($given['amt']) || !isset($given['toAddr']))) {
        http_response_code(400);
        exit;
    }
    $said = ['ran' => $what, 'case' => $_SERVER['HTTP_X_CASE'] ?? '', 'amt' => $given['amt'] ?? null,
        'to' => $given['toAddr'] ?? null];
    $line = json_encode($said, JSON_INVALID_UTF8_SUBSTITUTE | JSON_PARTIAL_OUTPUT_ON_ERROR);
    file_put_contents($_SERVER['LOG'], "$line\n", FILE_APPEND);
    echo json_encode(['ran' => $what]);
    exit;
}
http_response_code(404);
