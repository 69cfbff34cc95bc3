# To be sourced by bash. Makes the packages that scripts/setup installed in .deps visible to the build, the tools and
# the tests. Has no effect if the system has all packages.
inlay_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
inlay_deps=$inlay_root/.deps/root/usr
if [ -d "$inlay_deps" ]; then
  export PATH="$inlay_deps/lib/llvm-22/bin:$inlay_deps/bin:$PATH"
  export CMAKE_PREFIX_PATH="$inlay_deps/lib/llvm-22:$inlay_deps${CMAKE_PREFIX_PATH:+:$CMAKE_PREFIX_PATH}"
  # -idirafter: these headers must come after those of the C++ library, which include C headers with #include_next.
  inlay_flags="-idirafter $inlay_deps/include/x86_64-linux-gnu -idirafter $inlay_deps/include"
  [ -f "$inlay_deps/lib/x86_64-linux-gnu/crt1.o" ] && inlay_flags+=" -B$inlay_deps/lib/x86_64-linux-gnu"
  [ -d "$inlay_deps/lib/gcc/x86_64-linux-gnu/12/include" ] && inlay_flags+=" --gcc-install-dir=$inlay_deps/lib/gcc/x86_64-linux-gnu/12"
  export CFLAGS="$inlay_flags ${CFLAGS:-}" CXXFLAGS="$inlay_flags ${CXXFLAGS:-}"
  export LIBRARY_PATH="$inlay_deps/lib/x86_64-linux-gnu${LIBRARY_PATH:+:$LIBRARY_PATH}"
  export LD_LIBRARY_PATH="$inlay_deps/lib/llvm-22/lib:$inlay_deps/lib/x86_64-linux-gnu${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
  export PKG_CONFIG_PATH="$inlay_deps/lib/x86_64-linux-gnu/pkgconfig${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}"
  export PYTHONPATH="$inlay_deps/lib/llvm-22/utils/lit${PYTHONPATH:+:$PYTHONPATH}"
fi
# Python packages of the tests (installed by scripts/setup).
[ -d "$inlay_root/.deps/python" ] && export PYTHONPATH="$inlay_root/.deps/python${PYTHONPATH:+:$PYTHONPATH}"
[ -d "$inlay_root/.deps/venv" ] && export VIRTUAL_ENV="$inlay_root/.deps/venv"
# ccache needs these settings to cache with precompiled headers.
export CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
# Makes paths relative to the root, so that all checkouts on a machine share the cache.
export CCACHE_BASEDIR=$inlay_root CCACHE_NOHASHDIR=true

# configure PRESET [OPTION...]: configures the build tree of a preset. Prints output only on failure.
configure() {
  local preset=$1 log
  shift
  log=$(mktemp)
  (cd "$inlay_root" && cmake --preset "$preset" -DCMAKE_CXX_COMPILER_LAUNCHER=ccache "$@") >"$log" 2>&1 || {
    cat "$log" >&2
    rm -f "$log"
    return 1
  }
  rm -f "$log"
}
