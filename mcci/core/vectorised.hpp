#pragma once

// Compiles a loop that runs along memory twice, for processors with AVX2 and for all others; which of the two
// runs is decided as the program starts. Neither fuses multiplications with additions, so both have the same
// bits. Of the compilers only g++ knows it for templates; ThreadSanitizer is not ready when it is decided.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_THREAD__)
#define MCCI_VECTORISED __attribute__((target_clones("avx2", "default")))
#else
#define MCCI_VECTORISED
#endif
