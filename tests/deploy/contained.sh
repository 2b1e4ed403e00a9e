#!/bin/sh
# Runs a command as a container would: user 10001, no capability, and no file system to write to but one folder.
#   contained.sh FOLDER INTERPRETER_PREFIX COMMAND...
# To be called inside a mount namespace of its own (unshare --mount), by root.
set -e
folder=$1 prefix=$2
shift 2

# An interpreter below a home that only its owner may enter stays where it is, and what surrounds it goes.
if ! setpriv --reuid 10001 --regid 10001 --clear-groups test -x "$prefix"; then
    home=$prefix
    while setpriv --reuid 10001 --regid 10001 --clear-groups test ! -x "$home"; do
        top=$home
        home=$(dirname "$home")
    done
    mkdir -p "$folder/interpreter"
    mount --bind "$prefix" "$folder/interpreter"
    mount -t tmpfs -o mode=0755 none "$top"
    mkdir -p "$prefix"
    mount --bind "$folder/interpreter" "$prefix"
fi

findmnt -rno TARGET | while read -r at; do
    case $at in
        /proc* | /sys* | /dev*) ;;
        *) mount -o remount,bind,ro "$at" ;;
    esac
done
mount -t tmpfs -o uid=10001,gid=10001,mode=0700 none "$folder/state"
exec setpriv --reuid 10001 --regid 10001 --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all -- "$@"
