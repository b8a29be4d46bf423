/* Print which digit a picture shows: application PICTURE.pgm */
#include <stdio.h>
#include <stdlib.h>

#include "digits8.h"
#include "digits8_labels.h"

/* Read a PGM picture, text (P2) or binary (P5), of the network's size. Returns 0 if this fails. */
static int read_picture(const char *path, int8_t *pixels)
{
    FILE *file = fopen(path, "rb");
    char kind = 0;
    int columns = 0, rows = 0, most = 0, value, good = 0;
    unsigned i;
    if (!file) {
        perror(path);
        return 0;
    }
    if (fscanf(file, "P%c ", &kind) == 1 && (kind == '2' || kind == '5')) {
        while ((value = fgetc(file)) == '#')
            (void)(fscanf(file, "%*[^\n]") + fscanf(file, " "));
        ungetc(value, file);
        good = fscanf(file, "%d %d %d", &columns, &rows, &most) == 3 && fgetc(file) != EOF &&
            columns == digits8_INPUT0_COLUMNS && rows == digits8_INPUT0_ROWS && most == 255;
    }
    for (i = 0; good && i < digits8_INPUT0_SIZE; i++) {
        good = kind == '5' ? (value = fgetc(file)) != EOF : fscanf(file, "%d", &value) == 1;
        pixels[i] = (int8_t)(value - 128); /* digits8.h describes this encoding of pixels */
    }
    fclose(file);
    if (!good)
        fprintf(stderr, "%s: not a PGM picture of %d x %d pixels\n", path, digits8_INPUT0_COLUMNS,
            digits8_INPUT0_ROWS);
    return good;
}

int main(int argc, char **argv)
{
    static _Alignas(digits8_ARENA_ALIGN) unsigned char arena[digits8_ARENA_BYTES];
    int8_t pixels[digits8_INPUT0_SIZE], scores[digits8_OUTPUT0_SIZE];
    unsigned i, best = 0;
    digits8_t model;
    int status;
    if (argc != 2) {
        fprintf(stderr, "usage: %s PICTURE.pgm\n", argv[0]);
        return 2;
    }
    if (!read_picture(argv[1], pixels))
        return 1;
    status = digits8_init(&model, arena, sizeof arena);
    if (status == digits8_OK)
        status = digits8_predict(&model, pixels, scores);
    if (status != digits8_OK) {
        fprintf(stderr, "%s\n",
            status == digits8_EISA ? "this CPU lacks instructions that the network was compiled for"
                                   : "the network does not start");
        return 1;
    }
    for (i = 1; i < digits8_OUTPUT0_SIZE; i++)
        if (scores[i] > scores[best])
            best = i;
    printf("%s %.3f\n", digits8_labels[best],
        digits8_OUTPUT0_SCALE * (scores[best] - digits8_OUTPUT0_ZERO_POINT));
    digits8_destroy(&model);
    return 0;
}
