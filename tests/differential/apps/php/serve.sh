#!/bin/sh
# nginx in front of PHP-FPM, with everything that they write in DIR. PORT and LOG are in the environment. PHP-FPM makes a
# process group of its own; its id is in DIR/group, for whoever ends this.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
PATH="$PATH:/usr/sbin"

as_root=""
[ "$(id -u)" != 0 ] || as_root="--allow-to-run-as-root"

cat > "$DIR/fpm.conf" <<TXT
[global]
error_log = $DIR/fpm.log
daemonize = no
[www]
listen = $DIR/fpm.sock
pm = static
pm.max_children = 4
$([ -z "$as_root" ] || printf 'user = root\ngroup = root\n')
TXT
cat > "$DIR/nginx.conf" <<TXT
daemon off;
master_process off;
pid $DIR/nginx.pid;
error_log $DIR/nginx.log crit;
events { worker_connections 256; }
http {
    access_log off;
    client_body_temp_path $DIR/body;
    proxy_temp_path $DIR/proxy;
    fastcgi_temp_path $DIR/fastcgi;
    uwsgi_temp_path $DIR/uwsgi;
    scgi_temp_path $DIR/scgi;
    server {
        listen 127.0.0.1:$PORT;
        root $here;
        location / { try_files /nothing /index.php\$is_args\$args; }
        location ~ \.php(/|\$) {
            fastcgi_pass unix:$DIR/fpm.sock;
            fastcgi_split_path_info ^(.+?\.php)(/.*)\$;
            include /etc/nginx/fastcgi_params;
            fastcgi_param SCRIPT_FILENAME $here/index.php;
            fastcgi_param LOG $LOG;
        }
    }
}
TXT
php-fpm8.2 $as_root --nodaemonize --fpm-config "$DIR/fpm.conf" > "$DIR/fpm.out" 2>&1 &
echo $! > "$DIR/group"
exec nginx -p "$DIR" -c "$DIR/nginx.conf"
