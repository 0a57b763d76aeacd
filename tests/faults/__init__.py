"""Faults: processes are killed, disks filled and connections cut; nothing that was accepted may be lost or doubled."""
