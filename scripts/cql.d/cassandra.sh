# shellcheck shell=bash
# Apache Cassandra as processes of this machine, its jars from Maven Central. Sourced by scripts/cql.
# shellcheck disable=SC2154 # dir and base are those of scripts/cql.

cassandra_version=$(sed -n 's|.*<cassandra.version>\(.*\)</cassandra.version>.*|\1|p' scripts/cql.d/pom.xml)
# Outside the clone: other clones use the same jars.
cassandra_jars=${XDG_CACHE_HOME:-${HOME:-$PWD/target}/.cache}/monarch/cassandra-$cassandra_version

# The first Java on this machine that Cassandra 5.0 runs on: version 17, or 11.
cassandra_java() {
    local java
    for java in "${JAVA_HOME-}/bin/java" "$(command -v java || true)" /usr/lib/jvm/*17*/bin/java /usr/lib/jvm/*11*/bin/java; do
        if [ -x "$java" ] && "$java" -version 2>&1 | grep -E '^[a-z]+ version "(17|11)[."]' >/dev/null; then
            printf '%s' "$java"
            return
        fi
    done
    return 1
}

cassandra_prepare() {
    if ! java=$(cassandra_java); then
        # In a shell of its own, so that more can be said when it fails. No command has the name before the `=`.
        (need_packages no-java-17-or-11=openjdk-17-jre-headless) || true
        java=$(cassandra_java) || fail "Cassandra 5.0 needs Java 17 or 11, and newer releases of Debian and Ubuntu may offer
neither. Install a JDK 17 and name it by JAVA_HOME, start Docker, or name a CQL server that runs: MONARCH_CQL=HOST:9042"
    fi
    [ -d "$cassandra_jars" ] || cassandra_fetch
}

cassandra_fetch() {
    local start=$SECONDS fresh=$cassandra_jars.$$
    need_packages mvn=maven
    say "fetching Apache Cassandra $cassandra_version from Maven Central: 66 MB, once"
    mkdir -p "$fresh"
    # --strict-checksums: what arrives damaged is refused. The folder gets its name when it is complete.
    mvn --quiet --batch-mode -Dstyle.color=never --strict-checksums -f scripts/cql.d/pom.xml \
        dependency:copy-dependencies -DoutputDirectory="$fresh" >&2 || {
        rm -rf "$fresh"
        fail "Maven could not fetch Cassandra; above is why"
    }
    # Another one may have been faster; then ours is not needed.
    mv -T "$fresh" "$cassandra_jars" 2>/dev/null || rm -rf "$fresh"
    say "fetched after $((SECONDS - start)) s into $cassandra_jars"
}

# Each node's own port on 127.0.0.1, for nodetool.
cassandra_jmx_port() { printf '%d' $((7200 + ${base##*.} + $1 - 1)); }

cassandra_log() { printf '%s' "$dir/node$1/logs/cassandra.log"; }

# Detached from this terminal: Ctrl-C is not meant for it.
cassandra_start() {
    local number=$1 node=$dir/node$1 heap=${MONARCH_CQL_HEAP:-512M} log agent options
    log=$(cassandra_log "$number")
    mkdir -p "$node"/{conf,data,commitlog,saved_caches,hints,tmp,logs}
    sed -e "s|@ADDRESS@|$(address "$number")|" -e "s|@SEED@|$(address 1)|" -e "s|@NODE@|$node|" \
        scripts/cql.d/cassandra.yaml >"$node/conf/cassandra.yaml"
    cp scripts/cql.d/logback.xml "$node/conf/"
    mapfile -t options < <(grep '^-' scripts/cql.d/jvm.options)
    agent=$(echo "$cassandra_jars"/jamm-*.jar)
    # Fewer arenas of malloc: many threads would otherwise hold memory that nobody uses.
    MALLOC_ARENA_MAX=2 setsid "$java" "${options[@]}" -Xms"$heap" -Xmx"$heap" -XX:MaxDirectMemorySize=512m \
        -javaagent:"$agent" -Djava.io.tmpdir="$node/tmp" -Djna.tmpdir="$node/tmp" \
        -Dcassandra.config="file://$node/conf/cassandra.yaml" -Dlogback.configurationFile="file:$node/conf/logback.xml" \
        -Dcassandra.storagedir="$node" -Dcassandra.logdir="$node/logs" \
        -Dcassandra.jmx.local.port="$(cassandra_jmx_port "$number")" \
        -cp "$node/conf:$cassandra_jars/*" org.apache.cassandra.service.CassandraDaemon \
        >>"$log" 2>&1 </dev/null 9>&- &
    echo $! >"$node/pid"
    # Until it is Java's own process: before, nothing tells it from a stranger's.
    until cassandra_is_running "$number" || ! kill -0 $! 2>/dev/null; do sleep 0.1; done
    say "node $number: starting Cassandra $cassandra_version, log in $log"
}

# The process id of a node; not that of another process which got the number later, nor of one that is dead and not
# waited for.
cassandra_pid() {
    local pid
    pid=$(cat "$dir/node$1/pid" 2>/dev/null) || return
    grep -qzxF -- "-Dcassandra.storagedir=$dir/node$1" "/proc/$pid/cmdline" 2>/dev/null || return
    printf '%s' "$pid"
}

cassandra_is_running() { cassandra_pid "$1" >/dev/null; }

cassandra_about() {
    local pid
    pid=$(cassandra_pid "$1") || return 0
    awk -v pid="$pid" '/^VmRSS:/ { printf "process %d, %d MB", pid, $2 / 1000 }' "/proc/$pid/status"
}

cassandra_tail() { tail -n 40 "$(cassandra_log "$1")"; }

# cassandra_end SIGNAL NUMBER SECONDS: whether the node has ended in that time.
cassandra_end() {
    local pid waited=0
    pid=$(cassandra_pid "$2") || return 0
    [ "$1" = none ] || kill -s "$1" "$pid"
    while cassandra_is_running "$2"; do
        [ "$waited" -lt $((10 * $3)) ] || return
        sleep 0.1
        waited=$((waited + 1))
    done
}

cassandra_kill() { cassandra_end KILL "$1" 10 || fail "node $1 does not die"; }

cassandra_pause() { kill -s STOP "$(cassandra_pid "$1")"; }

cassandra_resume() { kill -s CONT "$(cassandra_pid "$1")"; }

# All at once, each in its own time.
cassandra_stop() {
    local number pid
    for number in $(nodes); do
        # One that is paused hears it when it goes on.
        pid=$(cassandra_pid "$number") && kill "$pid" && kill -s CONT "$pid"
    done
    for number in $(nodes); do
        cassandra_end none "$number" 60 || {
            say "node $number does not stop: killing it"
            cassandra_kill "$number"
        }
    done
}

# Nothing but what is in the folder.
cassandra_wipe() { :; }

# nodetool's view of the first node that runs.
cassandra_ring() {
    local number options
    java=$(cassandra_java) || return
    mapfile -t options < <(grep -E '^--add|^-Djdk' scripts/cql.d/jvm.options)
    for number in $(nodes); do
        cassandra_is_running "$number" || continue
        # nodetool notes what it was asked in a file at home: not in the user's.
        timeout 60 "$java" "${options[@]}" -Xmx128m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC \
            -Duser.home="$dir/node$number/tmp" -Dcassandra.storagedir="$dir/node$number" \
            -Dcassandra.config="file://$dir/node$number/conf/cassandra.yaml" \
            -Dlogback.configurationFile="file:$dir/node$number/conf/logback.xml" \
            -cp "$dir/node$number/conf:$cassandra_jars/*" org.apache.cassandra.tools.NodeTool \
            -h 127.0.0.1 -p "$(cassandra_jmx_port "$number")" status
        return
    done
}
