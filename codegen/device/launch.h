// The dependency between a launch and the one before it (programmatic dependent launch).
#pragma once

// Waits until the launches before this one have ended and their writes are visible.
__device__ __forceinline__ void depend() { asm volatile("griddepcontrol.wait;" ::: "memory"); }
// Lets the next launch start as soon as every block has called this or ended.
__device__ __forceinline__ void launch_dependents() { asm volatile("griddepcontrol.launch_dependents;" ::: "memory"); }
